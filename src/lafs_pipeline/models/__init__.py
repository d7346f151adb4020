"""Landmark network, patch sampling, Part fViT and fViT, DINO head."""
