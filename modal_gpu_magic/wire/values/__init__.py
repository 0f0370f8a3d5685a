"""What is known of values without pickling them: what they share, what they refer to, whether they changed."""
