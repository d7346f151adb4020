"""One image becomes many views: geometry, appearance, landmark perturbation and subsets."""
