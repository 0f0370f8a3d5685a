"""Services: functions that stay loaded in containers of their own."""
