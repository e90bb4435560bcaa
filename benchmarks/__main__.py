"""Run every benchmark and write the tables that the site shows. `--quick` only sees that they run."""
import sys
from . import hmm, mixture

mixture.main(sys.argv[1:])
hmm.main(sys.argv[1:])
