"""Prints lit's report as one closing line, and fails unless tests ran and passed."""

import collections
import json
import sys

GOOD = {"PASS", "FLAKYPASS", "XFAIL"}
NOT_RUN = {"UNSUPPORTED", "SKIPPED", "EXCLUDED"}


def main(report, status):
    try:
        with open(report) as file:
            tests = json.load(file)["tests"]
    except (OSError, ValueError, KeyError) as error:
        print(f"no report of the tests: {error}", file=sys.stderr)
        tests = []
    codes = collections.Counter(test["code"] for test in tests)
    passed = sum(codes[code] for code in GOOD)
    skipped = sum(codes[code] for code in NOT_RUN)
    failed = len(tests) - passed - skipped
    if passed + failed == 0:
        print("no test ran", file=sys.stderr)
        failed = 1
    elif status and not failed:
        print(f"lit failed with status {status}", file=sys.stderr)
        failed = 1
    for test in tests:
        if test["code"] not in GOOD | NOT_RUN:
            print(f"{test['code']}: {test['name']}")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
