//===- ElementTypes.cpp - ONNX element types ------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ElementTypes.h"

#include "moe/Dialect/ONNX/IR/ONNXOps.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe::onnx_import;

namespace {

template <typename T> Type floating(MLIRContext *context) {
  return T::get(context);
}
template <unsigned bits> Type integer(MLIRContext *context) {
  return IntegerType::get(context, bits);
}
template <unsigned bits> Type unsignedInteger(MLIRContext *context) {
  return IntegerType::get(context, bits, IntegerType::Unsigned);
}
template <typename T> Type complex(MLIRContext *context) {
  return ComplexType::get(T::get(context));
}

struct Row {
  ElementType type;
  Type (*convert)(MLIRContext *);
};

/// Indexed by TensorProto.DataType, which numbers from 1.
constexpr Row kTable[] = {
    {{"FLOAT", 32, "F32"}, floating<Float32Type>},
    {{"UINT8", 8, "U8"}, unsignedInteger<8>},
    {{"INT8", 8, "I8"}, integer<8>},
    {{"UINT16", 16, "U16"}, unsignedInteger<16>},
    {{"INT16", 16, "I16"}, integer<16>},
    {{"INT32", 32, "I32"}, integer<32>},
    {{"INT64", 64, "I64"}, integer<64>},
    {{"STRING", 0}, floating<onnx::StringType>},
    {{"BOOL", 8, "BOOL"}, integer<1>},
    {{"FLOAT16", 16, "F16"}, floating<Float16Type>},
    {{"DOUBLE", 64, "F64"}, floating<Float64Type>},
    {{"UINT32", 32, "U32"}, unsignedInteger<32>},
    {{"UINT64", 64, "U64"}, unsignedInteger<64>},
    {{"COMPLEX64", 64, "C64"}, complex<Float32Type>},
    {{"COMPLEX128", 128}, complex<Float64Type>},
    {{"BFLOAT16", 16, "BF16"}, floating<BFloat16Type>},
    {{"FLOAT8E4M3FN", 8, "F8_E4M3"}, floating<Float8E4M3FNType>},
    {{"FLOAT8E4M3FNUZ", 8, "F8_E4M3FNUZ"}, floating<Float8E4M3FNUZType>},
    {{"FLOAT8E5M2", 8, "F8_E5M2"}, floating<Float8E5M2Type>},
    {{"FLOAT8E5M2FNUZ", 8, "F8_E5M2FNUZ"}, floating<Float8E5M2FNUZType>},
    {{"UINT4", 4}, unsignedInteger<4>},
    {{"INT4", 4}, integer<4>},
    {{"FLOAT4E2M1", 4, "F4"}, floating<Float4E2M1FNType>},
    {{"FLOAT8E8M0", 8, "F8_E8M0"}, floating<Float8E8M0FNUType>},
    {{"UINT2", 2}, unsignedInteger<2>},
    {{"INT2", 2}, integer<2>},
    {{"FLOAT6E2M3", 6, "F6_E2M3"}, floating<Float6E2M3FNType>},
    {{"FLOAT6E3M2", 6, "F6_E3M2"}, floating<Float6E3M2FNType>},
};

const Row *find(int32_t dataType) {
  if (dataType < 1 || static_cast<size_t>(dataType) > std::size(kTable))
    return nullptr;
  return &kTable[dataType - 1];
}

} // namespace

const ElementType *mlir::moe::onnx_import::elementType(int32_t dataType) {
  const Row *row = find(dataType);
  return row ? &row->type : nullptr;
}

Type mlir::moe::onnx_import::convertElementType(int32_t dataType,
                                                MLIRContext *context) {
  return find(dataType)->convert(context);
}

int32_t mlir::moe::onnx_import::fromSafetensors(StringRef name) {
  for (const Row &row : kTable)
    if (!name.empty() && row.type.safetensors == name)
      return static_cast<int32_t>(&row - kTable) + 1;
  return 0;
}

std::optional<uint64_t> mlir::moe::onnx_import::packedBytes(uint64_t elements,
                                                            unsigned bits) {
  bool overflow = false;
  uint64_t total =
      llvm::SaturatingMultiply<uint64_t>(elements, bits, &overflow);
  if (overflow || total > INT64_MAX)
    return std::nullopt;
  return llvm::divideCeil(total, 8);
}
