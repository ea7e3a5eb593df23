// Attention whose keys are divided among blocks, against the kernel in which one block sees all of them.
#include <cmath>

#include "cuda/card.h"
#include "kernels/cuda/attend_split.h"
#include "kernels/reference/rows.h"

namespace cachalot {
namespace {

using test::card_handle;
using test::expect_near;
using test::OnCard;
using test::RandomData;
using test::size;

struct SplitCase {
    const char* name;
    int heads, D, rotary, ratio, top_k;
    bool chosen;
    std::vector<std::int64_t> positions;  // of the rows, each of a sequence of its own
};

const SplitCase kSplitCases[] = {
    {"window", 64, 512, 64, 0, 0, false, {0, 5, 63, 64, 127, 128, 1000}},
    {"csa", 64, 512, 64, 4, 512, true, {3, 700, 2046, 2047, 2051, 9000}},
    {"hca", 128, 512, 64, 128, 0, false, {126, 127, 128, 20000}},
    {"narrow", 16, 128, 64, 4, 16, true, {30, 300}},
};

class CardAttendSplit : public testing::TestWithParam<SplitCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, CardAttendSplit, testing::ValuesIn(kSplitCases),
                         [](const auto& param) { return param.param.name; });

// Rows of random numbers, one after the other.
std::vector<std::byte> random_rows(const RowFormat& format, std::int64_t count, RandomData& random) {
    std::vector<std::byte> bytes(size(count * format.bytes()));
    for (std::int64_t r = 0; r < count; ++r)
        encode_row(format, random.vector(format.size).data(), bytes.data() + r * format.bytes());
    return bytes;
}

TEST_P(CardAttendSplit, IsThatOfOneBlock) {
    CACHALOT_NEEDS_CARD();
    const SplitCase& t = GetParam();
    constexpr int kWindow = 128, kCapacity = 192;
    const auto rows = static_cast<std::int64_t>(t.positions.size());
    RandomData random(71);
    const RowFormat format{RowFormat::Kind::fp8_kv, t.D, t.rotary};
    const OnCard<std::byte> slab(random_rows(format, kCapacity, random));
    const std::int64_t per_page = t.ratio ? (256 + t.ratio - 1) / t.ratio : 0;
    const std::int64_t deepest = *std::max_element(t.positions.begin(), t.positions.end());
    const OnCard<std::byte> compressed(random_rows(format, per_page * (deepest / 256 + 1), random));
    std::vector<std::byte*> pages;
    for (std::int64_t p = 0; p <= deepest / 256; ++p)
        pages.push_back(compressed.address() + p * per_page * format.bytes());
    const OnCard<std::byte*> pages_there(pages);
    std::vector<cuda::Sequence> sequences;
    std::vector<std::int32_t> sequence, selected;
    for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t position = t.positions[size(r)];
        sequences.push_back(
            {position, static_cast<std::int32_t>(r), 1, slab.address(), pages_there.address(), nullptr});
        sequence.push_back(static_cast<std::int32_t>(r));
        const std::int64_t visible = t.ratio ? (position + 1) / t.ratio : 0;
        for (int k = 0; k < t.top_k; ++k)  // ascending, of those that are visible
            selected.push_back(static_cast<std::int32_t>(visible > t.top_k ? k * visible / t.top_k : -1));
    }
    std::vector<float> cosine, sine;
    for (std::int64_t i = 0; i < rows * t.rotary / 2; ++i) {
        const float angle = random.normal(10.0f);
        cosine.push_back(std::cos(angle));
        sine.push_back(std::sin(angle));
    }
    const OnCard<cuda::Sequence> sequences_there(sequences);
    const OnCard<std::int32_t> sequence_there(sequence), selected_there(selected);
    const OnCard<std::int64_t> positions(t.positions);
    const OnCard<float> cosine_there(cosine), sine_there(sine), sinks(random.vector(t.heads)),
        q(random.vector(rows * t.heads * t.D)), expected(size(rows * t.heads * t.D)),
        actual(size(rows * t.heads * t.D));
    cuda::AttendCall a;
    a.batch.positions = positions.address(), a.batch.sequence = sequence_there.address();
    a.batch.sequences = sequences_there.address(), a.batch.rows = static_cast<int>(rows);
    a.batch.sequence_count = static_cast<int>(rows), a.batch.longest = 1;
    a.q = q.address(), a.out = expected.address(), a.heads = t.heads;
    a.rotary = {cosine_there.address(), sine_there.address(), t.rotary / 2};
    a.window_format = a.compressed_format = format;
    a.window_size = kWindow, a.window = {0, format.bytes(), kWindow - 1, kCapacity, 0};
    a.ratio = t.ratio, a.compressed = {t.ratio, format.bytes(), 0};
    if (t.chosen) a.selected = selected_there.address();
    a.top_k = t.top_k, a.sinks = sinks.address();
    cuda::attend(a, card_handle());
    ASSERT_TRUE(cuda::can_split(a));
    a.out = actual.address();
    const std::int64_t visible = t.ratio ? (deepest + 1) / t.ratio : 0;
    const std::int64_t most = kWindow + (t.chosen ? std::min<std::int64_t>(visible, t.top_k) : visible);
    for (const std::int64_t keys : {most, most + 1000}) {  // also in a graph for longer sequences
        const OnCard<float> room(size(rows * t.heads * cuda::parts_of_keys(keys) * (t.D + 2)));
        cuda::attend_split(a, keys, room.address(), card_handle());
        expect_near(actual.fetch(), expected.fetch(), 5e-5);
    }
}

}  // namespace
}  // namespace cachalot
