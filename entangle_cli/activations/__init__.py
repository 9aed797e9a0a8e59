"""The store between the network and everything else: what a model's layers answered to a data set.

    file        `ActivationFile`: reads a store, and the HDF5 schema in words
    writer      `ActivationWriter`: fills one, crash-safe, resumable
    skeleton    the HDF5 file before its first row
    schema      what a store consists of; journal, lock and durable are its parts on disk
    feed        model + data set + preprocessing -> input batches
    reducing    how a map becomes a point
    dump        model + batches -> ActivationFile
    logits      which output holds class scores, and the accuracy they give
    verify      every checksum read again

A store is three files side by side: ``NAME.h5``, ``NAME.journal`` and ``NAME.manifest.json``.
"""
