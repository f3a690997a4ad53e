// A dialect that is not registered is refused, not passed through.
// RUN: not moe-opt %s 2>&1 | FileCheck %s

// CHECK: error: Dialect `nonesuch' not found for custom op 'nonesuch.op'
nonesuch.op
