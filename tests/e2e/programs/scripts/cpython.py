# Runs modules of CPython's own tests, and prints how each test ended, by name.
import gc, os, resource, sys, unittest
from test import support


# Tests of what not every Linux has. Linux leaves UDP-Lite out where it is not configured, and newer ones have dropped it; a connection
# of AF_VSOCK to the machine itself waits for ever on some, which depends on how they are virtualised.
LEFT_OUT = ("UDPLITE", "VSOCK")


class Outcomes(unittest.TextTestResult):
    ends = {}

    def startTest(self, test):
        super().startTest(test)
        self.ends.setdefault(test.id(), "ok")

    def stopTest(self, test):
        super().stopTest(test)
        # The guest's console is where a test that hangs is to be read.
        print(test.id(), file=sys.stderr, flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.ends[test.id()] = f"skipped: {reason}"

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.ends[test.id()] = "failed"

    def addError(self, test, error):
        super().addError(test, error)
        self.ends[test.id()] = "failed"

    def addSubTest(self, test, part, error):
        super().addSubTest(test, part, error)
        if error:
            self.ends[test.id()] = "failed"


def chosen(suite):
    """The tests of a suite that are run."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from chosen(test)
        elif not any(word in test.id() for word in LEFT_OUT):
            yield test


def main():
    # Some tests ask about each descriptor that a process could have.
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    # The internet is not what is tested, and may not be there. One module asks for it and stays at home.
    support.use_resources = ["audio", "cpu", "decimal", "largefile", "subprocess", "walltime"]
    if "test_socketserver" in sys.argv:
        support.use_resources.append("network")
    # What the tests themselves print, numbers of processes among it, goes to standard error.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tests = unittest.defaultTestLoader.loadTestsFromNames(f"test.{name}" for name in sys.argv[1:])
    # Some tests collect garbage a hundred times: not all that was loaded with them.
    gc.freeze()
    result = unittest.TextTestRunner(resultclass=Outcomes).run(unittest.TestSuite(chosen(tests)))
    for name, end in sorted(result.ends.items()):
        print(f"{name}: {end}", file=report)
    report.close()
    sys.exit(not result.wasSuccessful())


# Processes of multiprocessing read this file, too.
if __name__ == "__main__":
    main()
