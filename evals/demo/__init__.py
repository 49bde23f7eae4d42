"""The bundled demo suite: six small tasks in SWE-bench row format, and two scripted backends that differ on them."""
