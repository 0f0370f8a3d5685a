"""The messages that cross: requests, events, answers, and the log that numbers the events."""
