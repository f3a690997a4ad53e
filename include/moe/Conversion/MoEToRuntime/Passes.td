//===- Passes.td - compiled code and its runtime ------------*- tablegen -*-===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_MOETORUNTIME_PASSES
#define MOE_CONVERSION_MOETORUNTIME_PASSES

include "mlir/Pass/PassBase.td"

def BindContextPass : Pass<"moe-bind-context", "::mlir::ModuleOp"> {
  let summary = "Give every function the session context";
  let description = [{
    Every function with a body gets the session context (`!llvm.ptr`, attribute
    `moe.context`) as its first argument, and calls pass it on. The public
    function `@main`, on memrefs, becomes `@moe_compiled_main(context)`: its
    arguments are read with `moe_rt_input_data` and `moe_rt_input_dim`, its
    results handed over with `moe_rt_set_output`.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect"];
}

def InsertDeallocsPass : Pass<"moe-insert-deallocs", "::mlir::func::FuncOp"> {
  let summary = "Free buffers after their last use";
  let description = [{
    Inserts a `memref.dealloc` after the last operation, in the block of a
    `memref.alloc`, that uses the buffer or a view of it, so that the session's
    arena can hand the memory out again within the run. Where each branch or
    each iteration hands on a buffer that it has allocated, and that nothing else
    names, the buffer is freed with the result of the branch, or at the end of
    the next iteration. Any other buffer that leaves its block is not freed: the
    arena takes everything back when the next run begins.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def ExpandDynamicShapesPass
    : Pass<"moe-expand-dynamic-shapes", "::mlir::func::FuncOp"> {
  let summary = "Expand memrefs into several dynamic sizes";
  let description = [{
    Turns each `memref.expand_shape` that has more than one dynamic size in a
    group into a `memref.reinterpret_cast`. `expand-strided-metadata`, which does
    that for all others, crashes on those.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
}

def ConvertMoEToRuntimePass
    : Pass<"convert-moe-to-runtime", "::mlir::ModuleOp"> {
  let summary = "Convert buffers, checks and weights to runtime calls";
  let description = [{
    `memref.alloc` and `memref.dealloc` become `moe_rt_alloc` and `moe_rt_free`,
    `moe.check` becomes `moe_rt_check` (its texts form the module attribute
    `moe.sites`, an array of dictionaries `{node, message}` that the call
    refers to by index), `moe.get_weight` becomes an address in the mapped
    weight file, whose offset is the symbol's `section`.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect"];
}

def ProfileKernelsPass : Pass<"moe-profile-kernels", "::mlir::ModuleOp"> {
  let summary = "Tell the session's profile hook about every kernel";
  let description = [{
    Puts `moe_rt_profile` before and after every call of a `@moe_kernel_...`
    function; the module attribute `moe.regions` names the regions by the node
    that the kernel was made for and its kind.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect"];
}

def OutlineLayersPass : Pass<"moe-outline-layers", "::mlir::ModuleOp"> {
  let summary = "Move what the entry function repeats into functions";
  let description = [{
    Stretches of operations of `@moe_compiled_main` that occur several times with
    the same operations, types and data flow become a function `@moe_layer_...`.
    Its arguments are the values from outside that are not the same constant or
    weight in each stretch; integer constants that differ by the same amounts
    everywhere share one. Its results are the values that are used later, by any
    of them. A buffer that each stretch frees is freed inside.

    `moe.check` becomes a call first, so that its text is a number (see
    `convert-moe-to-runtime`); those of profile regions exist by then.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::memref::MemRefDialect"];
}

#endif // MOE_CONVERSION_MOETORUNTIME_PASSES
