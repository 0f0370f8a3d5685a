"""What is known of values and of the process around them: what they share, refer to, and whether they changed."""
