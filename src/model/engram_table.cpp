#include "model/engram_table.h"

#include "tensor/convert.h"

namespace cachalot {

void EngramTable::decode(const std::byte* row_values, const std::byte* row_scales,
                         std::span<float> out) const {
    Matrix row{dtype, 1, columns, row_values, values.bytes};
    row.scales = reinterpret_cast<const std::uint8_t*>(row_scales);
    row.fp8_block = kEngramBlock;
    dequantize_row(row, 0, out);
}

}  // namespace cachalot
