"""What a training is made of and starts from; settings are read without torch."""
