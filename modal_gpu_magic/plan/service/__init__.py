"""The methods and settings of a service, and the texts and the program that describe the service."""
