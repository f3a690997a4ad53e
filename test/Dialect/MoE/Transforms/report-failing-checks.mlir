// RUN: moe-opt %s --split-input-file --moe-report-failing-checks --verify-diagnostics

func.func @known(%found: i64) {
  %false = arith.constant false
  %n = arith.constant 4 : i64
  %i = arith.constant 7 : i64
  // expected-error @+1 {{node 'n' (Gather): expects an index below 4, got 7}}
  moe.check %false, %i, %n {node = "node 'n' (Gather)", message = "expects an index below {limit}, got {found}"}
  return
}

// -----

func.func @saturated(%limit: i64) {
  %false = arith.constant false
  %most = arith.constant 9223372036854775807 : i64
  // expected-error @+1 {{node 'n' (Expand): expects at most what depends on the input, got at least 9223372036854775807}}
  moe.check %false, %most, %limit {node = "node 'n' (Expand)", message = "expects at most {limit}, got {found+}"}
  return
}

// -----

// What is not known, and what may not be run, stays.
func.func @open(%ok: i1, %i: i64) {
  moe.check %ok, %i, %i {node = "n", message = "m"}
  scf.if %ok {
    %false = arith.constant false
    moe.check %false, %i, %i {node = "n", message = "m"}
  }
  return
}
