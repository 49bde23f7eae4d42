"""Terminal-Bench: tasks in Harbor's format, and the reward that a task's own tests give."""
