"""What is known of values, of code and of the process around them: what they share, refer to, and have changed."""
