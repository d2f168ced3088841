"""Save uploads, somewhere, safely."""
