"""The one door to PyAV; nothing here runs on the loop."""
