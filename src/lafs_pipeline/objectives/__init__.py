"""What is minimized: DINO loss, margin losses, landmark regularizer."""
