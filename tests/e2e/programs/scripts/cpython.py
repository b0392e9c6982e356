# Runs a module of CPython's own tests, and prints how each test ended, by name.
import os, resource, sys, unittest


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


def main():
    # Some tests ask about each descriptor that a process could have.
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    # What the tests themselves print, numbers of processes among it, goes to standard error.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tests = unittest.defaultTestLoader.loadTestsFromName(f"test.{sys.argv[1]}")
    result = unittest.TextTestRunner(resultclass=Outcomes).run(tests)
    for name, end in sorted(result.ends.items()):
        print(f"{name}: {end}", file=report)
    report.close()
    sys.exit(not result.wasSuccessful())


# Processes of multiprocessing read this file, too.
if __name__ == "__main__":
    main()
