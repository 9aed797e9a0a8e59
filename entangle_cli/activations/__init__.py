"""The store between the network and everything else: what a model's layers gave for a data set.

    dump        model + feed -> ActivationFile
    feed        model + data set + preprocessing -> input batches
    reducing    how a map becomes a point; precision: which number type holds it
    logits      which output holds class scores, and the accuracy they give
    file        `ActivationFile`: reads a store, and the schema in words; structure: its HDF5 side
    writer      `ActivationWriter`: fills a store, crash-safe, resumable; starting: how it begins
    committing  the threads behind it: one writes, one waits for the disk; staging: what they share
    skeleton    the HDF5 file before its first row
    schema      what a store consists of; identity: what determines it
    journal     the committed rows; manifest: the seal over a finished store; lock: one writer
    durable     writing that survives
    verify      every checksum read again

A store is three files side by side: ``NAME.h5``, ``NAME.journal`` and ``NAME.manifest.json``.
"""
