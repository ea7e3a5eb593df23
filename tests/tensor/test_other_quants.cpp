// The formats without kernels of their own: blocks packed here from codes and scales, value by value as
// dtype.h draws them, give those codes and scales back, rounded in the order of ggml.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "base/error.h"
#include "file/safetensors.h"
#include "kernels/random_data.h"
#include "tensor/iq_quants.h"
#include "tensor/k_quants.h"

namespace cachalot {
namespace {

struct Packed {
    std::vector<std::uint8_t> bytes;
    std::vector<float> values;
};

class Packer {
  public:
    Packer(DType t, test::RandomData& random) : type(t), random_(random) {
        packed.bytes.resize(static_cast<std::size_t>(info(t).bytes));
        packed.values.resize(static_cast<std::size_t>(info(t).elements));
    }
    // A random scale, written at byte `at`.
    float half(std::size_t at) {
        const auto bits = f32_to_f16(random_.normal());
        std::memcpy(&packed.bytes[at], &bits, 2);
        return f16_to_f32(bits);
    }
    int integer(int low, int high) { return random_.integer(low, high); }
    int code(int bits) { return random_.integer(0, (1 << bits) - 1); }
    void bits(std::size_t byte, int shift, int value) {
        packed.bytes[byte] = static_cast<std::uint8_t>(packed.bytes[byte] | value << shift);
    }
    // 32 codes of 4 bits from byte `at`.
    void nibble(std::size_t at, std::size_t i, int value) { bits(at + i % 16, i < 16 ? 0 : 4, value); }

    float& value(std::size_t i) { return packed.values[i]; }

    const DType type;
    Packed packed;

  private:
    test::RandomData& random_;
};

float real(int value) { return static_cast<float>(value); }

const int kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void pack_q4_0(Packer& p) {
    const float d = p.half(0);
    for (std::size_t i = 0; i < 32; ++i) {
        const int q = p.code(4);
        p.nibble(2, i, q);
        p.value(i) = d * real(q - 8);
    }
}

void pack_q4_1(Packer& p) {
    const float d = p.half(0), m = p.half(2);
    for (std::size_t i = 0; i < 32; ++i) {
        const int q = p.code(4);
        p.nibble(4, i, q);
        p.value(i) = d * real(q) + m;
    }
}

void pack_q5(Packer& p) {
    const bool minimum = p.type == DType::q5_1;
    const std::size_t fifth = minimum ? 4 : 2;
    const float d = p.half(0), m = minimum ? p.half(2) : 0;
    for (std::size_t i = 0; i < 32; ++i) {
        const int q = p.code(5);
        p.nibble(fifth + 4, i, q & 15);
        p.bits(fifth + i / 8, static_cast<int>(i % 8), q >> 4);
        p.value(i) = minimum ? d * real(q) + m : d * real(q - 16);
    }
}

void pack_iq4_nl(Packer& p) {
    const float d = p.half(0);
    for (std::size_t i = 0; i < 32; ++i) {
        const int q = p.code(4);
        p.nibble(2, i, q);
        p.value(i) = d * real(kLevels[q]);
    }
}

void pack_iq4_xs(Packer& p) {
    const float d = p.half(0);
    for (std::size_t g = 0; g < 8; ++g) {
        const int s = p.code(6);
        p.bits(4 + g / 2, g % 2 * 4, s & 15);
        p.bits(2 + g / 4, g % 4 * 2, s >> 4);
        for (std::size_t i = 0; i < 32; ++i) {
            const int q = p.code(4);
            p.nibble(8 + 16 * g, i, q);
            p.value(32 * g + i) = d * real(s - 32) * real(kLevels[q]);
        }
    }
}

void pack_q3_k(Packer& p) {
    const float d = p.half(108);
    for (std::size_t g = 0; g < 16; ++g) {
        const int s = p.code(6);
        p.bits(96 + g % 8, g < 8 ? 0 : 4, s & 15);
        p.bits(96 + 8 + g % 4, static_cast<int>(g / 4 * 2), s >> 4);
        for (std::size_t i = 16 * g; i < 16 * g + 16; ++i) {
            const int q = p.code(3);
            p.bits(32 + i / 128 * 32 + i % 32, static_cast<int>(i / 32 % 4 * 2), q & 3);
            p.bits(i % 32, static_cast<int>(i / 32), q >> 2);
            p.value(i) = d * real(s - 32) * real(q - 4);
        }
    }
}

void pack_q5_k(Packer& p) {
    const float d = p.half(0), dmin = p.half(2);
    for (std::size_t g = 0; g < 8; ++g) {
        const int s = p.code(6), m = p.code(6);
        if (g < 4) {
            p.bits(4 + g, 0, s);
            p.bits(8 + g, 0, m);
        } else {
            p.bits(8 + g, 0, s & 15);
            p.bits(8 + g, 4, m & 15);
            p.bits(g, 6, s >> 4);
            p.bits(4 + g, 6, m >> 4);
        }
        for (std::size_t i = 32 * g; i < 32 * g + 32; ++i) {
            const int q = p.code(5);
            p.bits(48 + i / 64 * 32 + i % 32, i / 32 % 2 * 4, q & 15);
            p.bits(16 + i % 32, static_cast<int>(i / 32), q >> 4);
            p.value(i) = d * real(s) * real(q) - dmin * real(m);
        }
    }
}

void pack_q6_k(Packer& p) {
    const float d = p.half(208);
    for (std::size_t g = 0; g < 16; ++g) {
        const int s = p.integer(-128, 127);
        p.bits(192 + g, 0, s & 255);
        for (std::size_t i = 16 * g; i < 16 * g + 16; ++i) {
            const int q = p.code(6);
            const std::size_t h = i / 128, in = i % 128;
            p.bits(64 * h + in % 64, in / 64 * 4, q & 15);
            p.bits(128 + 32 * h + in % 32, static_cast<int>(in / 32 * 2), q >> 4);
            p.value(i) = d * real(s) * real(q - 32);
        }
    }
}

Packed pack(DType type, test::RandomData& random) {
    Packer p(type, random);
    switch (type) {
        case DType::q4_0: pack_q4_0(p); break;
        case DType::q4_1: pack_q4_1(p); break;
        case DType::q5_0: pack_q5(p); break;
        case DType::q5_1: pack_q5(p); break;
        case DType::iq4_nl: pack_iq4_nl(p); break;
        case DType::iq4_xs: pack_iq4_xs(p); break;
        case DType::q3_k: pack_q3_k(p); break;
        case DType::q5_k: pack_q5_k(p); break;
        case DType::q6_k: pack_q6_k(p); break;
        default: ADD_FAILURE() << "nothing packs " << name(type);
    }
    return std::move(p.packed);
}

class OtherQuants : public testing::TestWithParam<DType> {};

TEST_P(OtherQuants, GiveBackWhatWasPacked) {
    test::RandomData random(11);
    for (int round = 0; round < 50; ++round) {
        const Packed packed = pack(GetParam(), random);
        const auto columns = static_cast<std::int64_t>(packed.values.size());
        std::vector<float> decoded(packed.values.size());
        const auto* bytes = reinterpret_cast<const std::byte*>(packed.bytes.data());
        dequantize_row({GetParam(), 1, columns, bytes, row_bytes(GetParam(), columns)}, 0, decoded);
        ASSERT_EQ(decoded, packed.values);
    }
}

TEST_P(OtherQuants, AreTypesLikeTheOthers) {
    EXPECT_EQ(parse_dtype(name(GetParam())), GetParam());
    EXPECT_TRUE(is_float_like(GetParam()));
    EXPECT_THROW(row_bytes(GetParam(), info(GetParam()).elements / 2), Error);
}

INSTANTIATE_TEST_SUITE_P(All, OtherQuants,
                         testing::Values(DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1, DType::q3_k,
                                         DType::q5_k, DType::q6_k, DType::iq4_nl, DType::iq4_xs),
                         [](const auto& tested) { return std::string(name(tested.param)); });

// Known from the published layouts, without our packing.
TEST(OtherQuantsByHand, FirstAndLastValues) {
    auto decode = [](DType type, std::vector<std::uint8_t> bytes) {
        std::vector<float> values(static_cast<std::size_t>(info(type).elements));
        EXPECT_EQ(static_cast<int>(bytes.size()), info(type).bytes);
        block_decoder(type)(reinterpret_cast<const std::byte*>(bytes.data()), values.data());
        return values;
    };
    std::vector<std::uint8_t> q4(18, 0x88);
    q4[0] = 0x00, q4[1] = 0x3c;  // 1.0
    q4[2] = 0x0f, q4[17] = 0x10;
    auto v = decode(DType::q4_0, q4);
    EXPECT_EQ(v[0], 7);
    EXPECT_EQ(v[16], -8);
    EXPECT_EQ(v[15], -8);
    EXPECT_EQ(v[31], -7);
    EXPECT_EQ(v[1], 0);

    std::vector<std::uint8_t> q6(210, 0);
    q6[208] = 0x00, q6[209] = 0x3c;
    q6[192] = 2, q6[207] = 0xff;     // scales of the first and last 16: 2 and -1
    q6[0] = 0x05, q6[128] = 0x01;    // value 0: 5 + 16 - 32
    q6[127] = 0x90, q6[191] = 0xc0;  // value 255: 9 + 48 - 32
    v = decode(DType::q6_k, q6);
    EXPECT_EQ(v[0], -22);
    EXPECT_EQ(v[1], -64);
    EXPECT_EQ(v[255], -25);
    EXPECT_EQ(v[254], 32);

    std::vector<std::uint8_t> q3(110, 0);
    q3[108] = 0x00, q3[109] = 0x3c;
    q3[96] = 0x01, q3[104] = 0x03;  // scale of group 0: 1 + 48 - 32 = 17; the others -32
    q3[32] = 0x02, q3[0] = 0x01;    // value 0: 2 + 4 - 4
    v = decode(DType::q3_k, q3);
    EXPECT_EQ(v[0], 34);
    EXPECT_EQ(v[1], -68);
    EXPECT_EQ(v[255], 128);
}

// tests/data/quant-golden.safetensors: random blocks, extreme scales among them, and what ggml decodes from
// them.
class GoldenBlocks : public testing::TestWithParam<DType> {};

TEST_P(GoldenBlocks, DecodeToTheSameBits) {
    static const Safetensors golden(std::string(CACHALOT_TEST_DATA) + "/quant-golden.safetensors");
    const std::string type(name(GetParam()));
    const TensorView &blocks = golden.get(type + ".blocks"), &values = golden.get(type + ".values");
    std::vector<float> expected(values.data.size() / 4), decoded(expected.size());
    std::memcpy(expected.data(), values.data.data(), values.data.size());
    const auto columns = static_cast<std::int64_t>(expected.size());
    dequantize_row({GetParam(), 1, columns, blocks.data.data(), row_bytes(GetParam(), columns)}, 0, decoded);
    EXPECT_EQ(decoded, expected);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenBlocks,
                         testing::Values(DType::mxfp4, DType::q8_0, DType::q4_0, DType::q4_1, DType::q5_0,
                                         DType::q5_1, DType::q2_k, DType::q3_k, DType::q4_k, DType::q5_k,
                                         DType::q6_k, DType::iq4_nl, DType::iq4_xs, DType::iq2_xxs,
                                         DType::iq2_xs, DType::iq2_s, DType::iq3_xxs, DType::iq3_s,
                                         DType::iq1_s, DType::iq1_m),
                         [](const auto& tested) { return std::string(name(tested.param)); });

// The tables in full, as one number each: the blocks above use only some of the patterns.
TEST(Grids, AreThePublishedOnes) {
    const auto hash = [](const auto& grid) {
        std::uint64_t h = 0xcbf29ce484222325;  // FNV-1a
        for (std::uint16_t pattern : grid)
            for (int byte : {pattern & 255, pattern >> 8})
                h = (h ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3;
        return h;
    };
    EXPECT_EQ(hash(kIq2xsGrid), 0x29d6ac8e0e6b14e3u);
    EXPECT_EQ(hash(kIq2sGrid), 0x641f9aa3fbd98694u);
    EXPECT_EQ(hash(kIq3xxsGrid), 0xa3a695908a710942u);
    EXPECT_EQ(hash(kIq3sGrid), 0xde38cc0714d23202u);
    EXPECT_EQ(hash(kIq1Grid), 0x3f1880817eeffa4u);
}

}  // namespace
}  // namespace cachalot
