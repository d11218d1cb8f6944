"""What is shown: themes, frames, questions, codebook and sentence bank."""
