"""What everything costs, beside what it would cost otherwise: ``python tests/bench``."""
