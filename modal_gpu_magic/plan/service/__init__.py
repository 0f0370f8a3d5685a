"""What a service serves, and the texts and the program that describe the service."""
