"""Adversarial inputs: small changes that gradients say are worst.

gradients   of the loss with respect to the input
sign        FGSM, BIM and PGD within a ball of the maximum norm
served      Carlini and Wagner's attack and AutoAttack, by the adversarial-robustness-toolbox
methods     all of them by name
parts       on a data set, one range of its images after another
"""
