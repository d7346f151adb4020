"""What is minimised: DINO loss, margin losses, landmark regulariser."""
