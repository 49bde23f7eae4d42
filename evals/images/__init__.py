"""The images of tasks: which are here, what the others would cost, how they come and how they go again."""
