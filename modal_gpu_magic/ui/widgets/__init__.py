"""The widgets: dashboard and picker, and the messages between them and their pages."""
