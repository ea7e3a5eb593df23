// The tables of the CPU backend against each other: every instruction set that the machine has computes what
// the scalar code does, of any bytes as weights.
//
// What only rounds or unpacks gives the same bits everywhere: activations to int8 and bfloat16, rows of the
// KV cache. Products sum in an order that depends on the width of vectors, so they are compared within the
// rounding of such a sum; each row of a batch has the bits that it has alone.
//
// Input: type of the weights, rows, columns, form of the activations; then the bytes of activations and
// weights.
#include <algorithm>
#include <bit>
#include <cmath>

#include "input.h"
#include "kernels/cpu/instruction_sets.h"
#include "kernels/random_data.h"
#include "kernels/reference/rows.h"

using namespace cachalot;

namespace {

std::vector<const cpu::Table*> find_tables() {
    std::vector<const cpu::Table*> found;
    for (const auto& set : cpu::instruction_sets())
        fuzz::refused([&] { found.push_back(&cpu::choose_table(set.name)); });
    return found;  // the scalar one last
}

const std::vector<const cpu::Table*>& tables() {
    static const auto all = find_tables();
    return all;
}

template <class T>
std::vector<T> numbers(fuzz::Input& input, std::int64_t n) {
    const auto bytes = input.filled(static_cast<std::size_t>(n) * sizeof(T));
    std::vector<T> values(static_cast<std::size_t>(n));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
}

// Any finite values that a model might have, of widely different sizes.
std::vector<float> activations(fuzz::Input& input, std::int64_t n) {
    auto x = numbers<float>(input, n);
    for (float& v : x) {
        auto bits = std::bit_cast<std::uint32_t>(v);
        bits = (bits & 0x807fffff) | ((112 + (bits >> 23) % 24) << 23);
        v = bits % 31 == 0 ? 0 : std::bit_cast<float>(bits);
    }
    return x;
}

struct Weights {
    std::vector<std::byte> bytes;
    std::vector<std::uint8_t> scales;
    Matrix matrix;

    Weights(fuzz::Input& input, DType type, std::int64_t rows, std::int64_t columns) {
        const auto stride = row_bytes(type, columns);
        bytes = input.filled(static_cast<std::size_t>(rows * stride));
        matrix = {type, rows, columns, bytes.data(), stride};
        if (type != DType::f8_e4m3 && type != DType::fp4_pairs) return;
        const bool fp8 = type == DType::f8_e4m3;
        if (fp8 && input.between(0, 1)) matrix.fp8_block = 32;
        matrix.scale_stride = fp8 ? blocks_of(columns, matrix.fp8_block) : columns / kFp4Block;
        scales = numbers<std::uint8_t>(
            input, (fp8 ? blocks_of(rows, matrix.fp8_block) : rows) * matrix.scale_stride);
        matrix.scales = scales.data();
    }
};

void compare_rounding(fuzz::Input& input) {
    const std::int64_t n = 32 * input.between(1, 9);
    const auto x = activations(input, n);
    const auto groups = static_cast<std::size_t>(n / 32);
    std::vector<cpu::Int8Group> expected(groups), actual(groups);
    const auto& all = tables();
    all.back()->quantize(x.data(), n, expected.data(), 1);
    for (const auto* table : all) {
        table->quantize(x.data(), n, actual.data(), 1);
        for (std::size_t g = 0; g < groups; ++g) {
            CACHALOT_CHECK(std::ranges::equal(actual[g].q, expected[g].q));
            CACHALOT_CHECK(actual[g].scale == expected[g].scale);
            CACHALOT_CHECK(std::ranges::equal(actual[g].pair_sums, expected[g].pair_sums));
            CACHALOT_CHECK(std::ranges::equal(actual[g].half_sums, expected[g].half_sums));
        }
        if (!table->round_to_bf16) continue;
        std::vector<std::uint16_t> halves(x.size());
        table->round_to_bf16(x.data(), n, halves.data());
        for (std::size_t i = 0; i < x.size(); ++i) CACHALOT_CHECK(halves[i] == f32_to_bf16(x[i]));
    }
}

void compare_rows(fuzz::Input& input) {
    using Kind = RowFormat::Kind;
    constexpr Kind kKinds[] = {Kind::f32, Kind::fp8_kv, Kind::fp8_32, Kind::fp4_16, Kind::fp4_key};
    const RowFormat format{kKinds[input.between(0, 4)], 192, 64};
    auto row = input.filled(static_cast<std::size_t>(format.bytes()));
    if (format.kind != Kind::f32)
        for (std::byte& byte : row)  // no encoder writes the codes of E4M3 that are no number
            if ((byte & std::byte{0x7f}) == std::byte{0x7f}) byte ^= std::byte{1};
    std::vector<float> expected(192), actual(192);
    decode_row(format, row.data(), expected.data());
    for (const auto* table : tables()) {
        table->decode_row(format, row.data(), actual.data());
        for (std::size_t i = 0; i < 192; ++i)
            CACHALOT_CHECK(actual[i] == expected[i] || (std::isnan(actual[i]) && std::isnan(expected[i])));
    }
}

// What a table needs to take activations as `form`.
struct Rounded {
    std::vector<cpu::Int8Group> q;
    std::vector<std::uint16_t> b;
    cpu::Activations x;

    Rounded(const cpu::Table& table, cpu::Form form, const std::vector<float>& values, std::int64_t rows,
            std::int64_t columns) {
        x.x = values.data();
        x.stride = columns;
        if (form == cpu::Form::int8) {
            q.resize(static_cast<std::size_t>(rows * columns / 32));
            for (std::int64_t r = 0; r < rows; ++r)
                table.quantize(values.data() + r * columns, columns, q.data() + r, rows);
            x.q = q.data();
            x.q_rows = rows;
        } else if (form == cpu::Form::bf16 && table.round_to_bf16) {
            b.resize(values.size());
            for (std::int64_t r = 0; r < rows; ++r)
                table.round_to_bf16(values.data() + r * columns, columns, b.data() + r * columns);
            x.b = b.data();
            x.b_stride = columns;
        }
    }
};

void compare_products(fuzz::Input& input) {
    const DType type =
        test::kWeightTypes[static_cast<std::size_t>(input.between(0, 255)) % std::size(test::kWeightTypes)];
    const int rows = static_cast<int>(input.between(1, 19));
    const std::int64_t outputs = input.between(1, 40),
                       columns = test::fitting_columns(type, 32 * input.between(1, 10));
    constexpr cpu::Form kForms[] = {cpu::Form::f32, cpu::Form::bf16, cpu::Form::int8};
    const cpu::Form form = kForms[input.between(0, 2)];
    auto x = activations(input, rows * columns);
    if (form == cpu::Form::bf16)
        for (float& v : x) v = round_to_bf16(v);  // so that tables without products of bfloat16 take the same
    const Weights w(input, type, outputs, columns);
    const auto& all = tables();

    // The largest that a sum may become on the way, which is what its rounding is relative to.
    std::vector<double> size(static_cast<std::size_t>(rows * outputs));
    std::vector<float> values(static_cast<std::size_t>(columns));
    bool finite = true;
    for (std::int64_t n = 0; n < outputs; ++n) {
        dequantize_row(w.matrix, n, values);
        for (int r = 0; r < rows; ++r)
            for (std::int64_t i = 0; i < columns; ++i) {
                const auto product = std::fabs(static_cast<double>(values[static_cast<std::size_t>(i)]) *
                                               x[static_cast<std::size_t>(r * columns + i)]);
                finite = finite && product < 1e30;
                size[static_cast<std::size_t>(r * outputs + n)] += product;
            }
    }
    std::vector<float> expected(size.size()), actual(size.size()), alone(static_cast<std::size_t>(outputs));
    auto product = [&](const cpu::Table& table, std::vector<float>& y) {
        const Rounded rounded(table, form, x, rows, columns);
        table.matmul(w.matrix, 0, outputs, rounded.x, rows, y.data(), outputs);
        for (int r = 0; finite && r < rows; ++r) {
            table.matmul(w.matrix, 0, outputs, rounded.x.from_row(r), 1, alone.data(), outputs);
            CACHALOT_CHECK(std::memcmp(alone.data(), y.data() + r * outputs, alone.size() * 4) == 0);
        }
    };
    product(*all.back(), expected);
    for (const auto* table : all) {
        product(*table, actual);
        for (std::size_t i = 0; finite && i < size.size(); ++i)
            CACHALOT_CHECK(std::fabs(static_cast<double>(actual[i]) - expected[i]) <= 1e-5 * size[i] + 1e-30);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    switch (input.number<std::uint8_t>() % 8) {
        case 0: compare_rounding(input); break;
        case 1: compare_rows(input); break;
        default: compare_products(input);
    }
    return 0;
}
