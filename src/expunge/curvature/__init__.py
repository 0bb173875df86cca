"""Curvature of one model: gradients of rows, the Fisher information, products, solutions.

Everything here takes one plain module in evaluation mode and reads rows without augmentation.
Weights are dictionaries by parameter name, trainable parameters only.
"""
