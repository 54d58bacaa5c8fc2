"""Why a root could not be made, told from what was refused and what can be read."""
