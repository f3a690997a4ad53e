// The tool reads every dialect that the phases use, and runs upstream passes.
// RUN: moe-opt --show-dialects | FileCheck %s --check-prefix=DIALECTS
// RUN: moe-opt %s --canonicalize | FileCheck %s

// DIALECTS-DAG: arith
// DIALECTS-DAG: bufferization
// DIALECTS-DAG: func
// DIALECTS-DAG: linalg
// DIALECTS-DAG: llvm
// DIALECTS-DAG: omp
// DIALECTS-DAG: vector

// CHECK-LABEL: func.func @fold
// CHECK-NEXT: %[[C:.*]] = arith.constant 3 : index
// CHECK-NEXT: return %[[C]]
func.func @fold() -> index {
  %0 = arith.constant 1 : index
  %1 = arith.constant 2 : index
  %2 = arith.addi %0, %1 : index
  return %2 : index
}
