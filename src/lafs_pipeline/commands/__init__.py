"""Small commands on the library: for people with a model and some images, or with a training to replay."""
