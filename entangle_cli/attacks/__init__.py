"""Adversarial inputs: small changes that gradients say are worst.

gradients   of the loss with respect to the input
sign        FGSM, BIM and PGD within a ball of the maximum norm
"""
