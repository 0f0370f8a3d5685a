"""The messages between kernel and container: requests, events, answers, and the log that numbers the events."""
