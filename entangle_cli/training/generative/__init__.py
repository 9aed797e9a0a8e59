"""Small generators of images: against a discriminator, or by entanglement with real images alone.

`train_generator` in ``run`` is the entry; ``settings`` says what can be trained.
"""
