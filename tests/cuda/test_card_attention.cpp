// What a layer remembers, chooses and attends to, on a card against the scalar reference: two sequences in
// passes of one row and of many, with rings that the rows do not fit into.
#include <algorithm>
#include <cmath>

#include "cuda/card.h"
#include "kernels/cuda/attend.h"
#include "kernels/cuda/choose.h"
#include "kernels/cuda/remember.h"
#include "kernels/primitives.h"
#include "kernels/reference/rows.h"
#include "state/row_ring.h"

namespace cachalot {
namespace {

using test::card_handle;
using test::card_stream;
using test::expect_near;
using test::OnCard;
using test::RandomData;
using test::size;

using Kind = RowFormat::Kind;

struct Shape {
    int ratio = 0;
    bool overlap = false, indexer = false, rounds = false;
};

constexpr int D = 128, kKey = 64, kRotary = 64, kHeads = 11, kIndexHeads = 6, kWindow = 40, kTop = 16;
constexpr std::int64_t kTokens = 768;  // of a sequence, at most
constexpr int kPages = kTokens / 256, kSequences = 2;
// Where the rows of the layer lie: on the host in rings that hold all tokens, on the card in rings as they
// are, or, where bytes are to be compared, in those of the host.
struct Places {
    RowFormat window, rows, keys;
    RowRing rings[5];  // window, kv, score, index kv, index score
    std::int64_t slab_bytes = 0, rows_at = 0, keys_at = 0, page_bytes = 0;

    Places(const Shape& s, bool all_tokens)
        : window{s.rounds ? Kind::fp8_kv : Kind::f32, D, kRotary},
          rows(window),
          keys{s.rounds ? Kind::fp4_key : Kind::f32, kKey, kRotary} {
        const int groups = s.overlap ? 2 : 1;
        const std::int64_t row_bytes[] = {window.bytes(), 4 * groups * D, 4 * groups * D, 4 * groups * kKey,
                                          4 * groups * kKey};
        for (int i = 0; i < 5; ++i) {
            if (i > 0 && s.ratio == 0) break;
            if (i > 2 && !s.indexer) break;
            const std::int64_t keep = i == 0 ? kWindow - 1 : groups * s.ratio - 1;
            rings[i] = {slab_bytes, row_bytes[i], keep, all_tokens ? kTokens : 0};
            slab_bytes += rings[i].bytes();
        }
        if (s.ratio == 0) return;
        const std::int64_t per_page = (256 + s.ratio - 1) / s.ratio;
        keys_at = per_page * rows.bytes();
        page_bytes = keys_at + per_page * keys.bytes();
    }
};

// The state of the sequences, on the host or on the card.
struct State {
    std::vector<std::vector<std::byte>> slabs, pages;
    std::vector<std::byte*> page_list;

    explicit State(const Places& places) {
        for (int s = 0; s < kSequences; ++s) {
            slabs.emplace_back(size(places.slab_bytes));
            for (int p = 0; p < kPages; ++p)
                pages.emplace_back(size(std::max<std::int64_t>(1, places.page_bytes)));
        }
        for (auto& page : pages) page_list.push_back(page.data());
    }
    std::byte* const* pages_of(int s) const { return page_list.data() + s * kPages; }
};

struct StateOnCard {
    std::vector<OnCard<std::byte>> slabs, pages;
    std::vector<std::byte*> addresses;
    explicit StateOnCard(const State& on_host) {
        for (const auto& slab : on_host.slabs) slabs.emplace_back(slab);
        for (const auto& page : on_host.pages) addresses.push_back(pages.emplace_back(page).address());
    }
};

// The rows of a pass: so many of each sequence.
struct Pass {
    std::int64_t start[kSequences];
    int count[kSequences];
    int rows;
    std::vector<float> latent, kv, gate, index_kv, index_gate, q, index_q, index_weights, cosine, sine;
    std::vector<std::int64_t> positions;
    std::vector<std::int32_t> sequence;

    Pass(const Shape& s, const std::int64_t (&from)[kSequences], const int (&counts)[kSequences],
         RandomData& random)
        : rows(counts[0] + counts[1]) {
        const int groups = s.overlap ? 2 : 1;
        latent = random.vector(rows * D);
        kv = random.vector(rows * groups * D);
        gate = random.vector(rows * groups * D);
        index_kv = random.vector(rows * groups * kKey);
        index_gate = random.vector(rows * groups * kKey);
        q = random.vector(rows * kHeads * D);
        index_q = random.vector(rows * kIndexHeads * kKey);
        index_weights = random.vector(rows * kIndexHeads);
        for (int i = 0; i < kSequences; ++i) {
            start[i] = from[i];
            count[i] = counts[i];
            for (int r = 0; r < counts[i]; ++r) {
                positions.push_back(from[i] + r);
                sequence.push_back(i);
                for (int k = 0; k < kRotary / 2; ++k) {
                    const float angle = static_cast<float>(from[i] + r) * 0.01f * static_cast<float>(k + 1);
                    cosine.push_back(std::cos(angle));
                    sine.push_back(std::sin(angle));
                }
            }
        }
    }
    RotaryView rotary(int first) const {
        return {cosine.data() + first * kRotary / 2, sine.data() + first * kRotary / 2, kRotary / 2};
    }
};

struct Learned {
    std::vector<float> norm, key_norm, ape, key_ape, sinks, frequencies;
    explicit Learned(RandomData& random)
        : norm(random.vector(D)),
          key_norm(random.vector(kKey)),
          ape(random.vector(128 * 2 * D)),
          key_ape(random.vector(128 * 2 * kKey)),
          sinks(random.vector(kHeads)) {
        for (int i = 0; i < kRotary / 2; ++i) frequencies.push_back(0.02f / static_cast<float>(i + 1));
    }
};

// One layer on the host, by the reference.
class OnHost {
  public:
    OnHost(const Shape& shape, const Learned& learned)
        : shape_(shape), w_(learned), places_(shape, true), state(places_) {}

    void run(Pass& p) {
        selected.assign(size(p.rows * kTop), -1);
        out.assign(size(p.rows * kHeads * D), 0);
        for (int s = 0, first = 0; s < kSequences; first += p.count[s++]) {
            if (p.count[s] == 0) continue;
            const auto ring = [&](int i) { return places_.rings[i].view(state.slabs[size(s)].data()); };
            LatentCall latent{p.start[s],     p.count[s], p.latent.data() + first * D,
                              w_.norm.data(), 1e-6f,      p.rotary(first),
                              places_.window, ring(0)};
            primitives_->latent({&latent, 1});
            const auto compress = [&](const std::vector<float>& kv, const std::vector<float>& gate, int n,
                                      int at, const std::vector<float>& norm, const std::vector<float>& ape,
                                      const RowFormat& format, std::int64_t offset, bool hadamard) {
                CompressCall c;
                c.start = p.start[s], c.rows = p.count[s];
                c.width = shape_.overlap ? 2 * n : n;
                c.kv = kv.data() + first * c.width, c.gate = gate.data() + first * c.width;
                c.ape = ape.data(), c.ratio = shape_.ratio, c.overlap = shape_.overlap;
                c.kv_state = ring(at), c.score_state = ring(at + 1);
                c.norm = norm.data(), c.frequencies = w_.frequencies.data(), c.hadamard = hadamard;
                c.format = format, c.out = {state.pages_of(s), shape_.ratio, format.bytes(), offset};
                primitives_->compress({&c, 1});
            };
            if (shape_.ratio)
                compress(p.kv, p.gate, D, 1, w_.norm, w_.ape, places_.rows, places_.rows_at, false);
            if (shape_.indexer) {
                compress(p.index_kv, p.index_gate, kKey, 3, w_.key_norm, w_.key_ape, places_.keys,
                         places_.keys_at, true);
                IndexCall c;
                c.start = p.start[s], c.rows = p.count[s];
                c.q = p.index_q.data() + first * kIndexHeads * kKey;
                c.weights = p.index_weights.data() + first * kIndexHeads;
                c.rotary = p.rotary(first), c.heads = kIndexHeads, c.ratio = shape_.ratio;
                c.format = places_.keys;
                c.keys = {state.pages_of(s), shape_.ratio, places_.keys.bytes(), places_.keys_at};
                c.top_k = kTop, c.selected = selected.data() + first * kTop;
                primitives_->index({&c, 1});
            }
            AttendCall a;
            a.start = p.start[s], a.rows = p.count[s];
            a.q = p.q.data() + first * kHeads * D, a.out = out.data() + first * kHeads * D;
            a.rotary = p.rotary(first), a.heads = kHeads;
            a.window_format = places_.window, a.compressed_format = places_.rows;
            a.window_size = kWindow, a.window = ring(0), a.ratio = shape_.ratio;
            if (shape_.ratio)
                a.compressed = {state.pages_of(s), shape_.ratio, places_.rows.bytes(), places_.rows_at};
            if (shape_.indexer) a.selected = selected.data() + first * kTop;
            a.top_k = kTop, a.sinks = w_.sinks.data();
            primitives_->attend({&a, 1});
        }
    }

  private:
    const Shape shape_;
    const Learned& w_;
    Places places_;
    std::unique_ptr<Primitives> primitives_ = make_reference_primitives();

  public:
    State state;
    std::vector<std::int32_t> selected;
    std::vector<float> out;
};

// The same layer on the card.
class Card {
  public:
    Card(const Shape& shape, const Learned& w)
        : shape_(shape),
          places_(shape, shape.rounds),
          empty_(places_),
          state_(empty_),
          pages_(state_.addresses),
          norm_(w.norm),
          key_norm_(w.key_norm),
          ape_(w.ape),
          key_ape_(w.key_ape),
          sinks_(w.sinks),
          frequencies_(w.frequencies) {}

    void begin(const Pass& p) {
        const int longest = std::max(p.count[0], p.count[1]);
        std::int64_t scratch = 0;
        for (int i = 0; i < 5; ++i) {
            const RowRing& r = places_.rings[i];
            ring_[i] = {r.offset, r.row_bytes, r.keep, r.row_bytes ? r.capacity() : 0, scratch};
            if (r.row_bytes) scratch += ring_[i].scratch_rows(longest) * r.row_bytes;
        }
        scratch_ = std::make_unique<OnCard<std::byte>>(size(kSequences * scratch));
        std::vector<cuda::Sequence> sequences;
        for (int s = 0, first = 0; s < kSequences; first += p.count[s++])
            sequences.push_back({p.start[s], first, p.count[s], state_.slabs[size(s)].address(),
                                 pages_.address() + s * kPages, scratch_->address() + s * scratch});
        sequences_ = std::make_unique<OnCard<cuda::Sequence>>(sequences);
        positions_ = std::make_unique<OnCard<std::int64_t>>(p.positions);
        sequence_ = std::make_unique<OnCard<std::int32_t>>(p.sequence);
        cosine_ = std::make_unique<OnCard<float>>(p.cosine);
        sine_ = std::make_unique<OnCard<float>>(p.sine);
        batch_ = {};
        batch_.positions = positions_->address();
        batch_.sequence = sequence_->address();
        batch_.sequences = sequences_->address();
        batch_.rows = p.rows, batch_.sequence_count = kSequences, batch_.longest = longest;
    }
    void remember(const Pass& p) {
        copy_rings(true);
        const OnCard<float> latent(p.latent), kv(p.kv), gate(p.gate), index_kv(p.index_kv),
            index_gate(p.index_gate);
        cuda::latent({batch_, latent.address(), norm_.address(), 1e-6f, rotary(), places_.window, ring_[0]},
                     card_handle());
        const auto compress = [&](const OnCard<float>& x, const OnCard<float>& g, int n, int at,
                                  const OnCard<float>& norm, const OnCard<float>& ape,
                                  const RowFormat& format, std::int64_t offset, bool hadamard) {
            cuda::CompressCall c;
            c.batch = batch_, c.kv = x.address(), c.gate = g.address(), c.ape = ape.address();
            c.width = shape_.overlap ? 2 * n : n, c.ratio = shape_.ratio, c.overlap = shape_.overlap;
            c.kv_state = ring_[at], c.score_state = ring_[at + 1];
            c.norm = norm.address(), c.frequencies = frequencies_.address(), c.hadamard = hadamard;
            c.format = format, c.out = {shape_.ratio, format.bytes(), offset};
            cuda::compress(c, card_handle());
        };
        if (shape_.ratio) compress(kv, gate, D, 1, norm_, ape_, places_.rows, places_.rows_at, false);
        if (shape_.indexer)
            compress(index_kv, index_gate, kKey, 3, key_norm_, key_ape_, places_.keys, places_.keys_at, true);
        card_stream().synchronize();
    }
    std::vector<std::int32_t> choose(const Pass& p) {
        const OnCard<float> q(p.index_q), weights(p.index_weights), scores(size(p.rows * kTokens / 2));
        const OnCard<std::int32_t> selected(std::vector<std::int32_t>(size(p.rows * kTop), -1));
        cuda::ChooseCall c;
        c.batch = batch_, c.q = q.address(), c.weights = weights.address(), c.rotary = rotary();
        c.heads = kIndexHeads, c.ratio = shape_.ratio, c.format = places_.keys;
        c.keys = {shape_.ratio, places_.keys.bytes(), places_.keys_at};
        c.top_k = kTop, c.selected = selected.address(), c.scores = scores.address();
        c.score_stride = c.most_visible = kTokens / shape_.ratio;
        cuda::choose(c, card_handle());
        return selected.fetch();
    }
    std::vector<float> attend(const Pass& p, const std::vector<std::int32_t>& selected) {
        const OnCard<float> q(p.q), out(size(p.rows * kHeads * D));
        const OnCard<std::int32_t> chosen(selected);
        cuda::AttendCall a;
        a.batch = batch_, a.q = q.address(), a.out = out.address(), a.rotary = rotary(), a.heads = kHeads;
        a.window_format = places_.window, a.compressed_format = places_.rows;
        a.window_size = kWindow, a.window = ring_[0], a.ratio = shape_.ratio;
        a.compressed = {shape_.ratio, places_.rows.bytes(), places_.rows_at};
        if (shape_.indexer) a.selected = chosen.address();
        a.top_k = kTop, a.sinks = sinks_.address();
        cuda::attend(a, card_handle());
        copy_rings(false);
        return out.fetch();
    }
    // The bytes of the state, and others in their place: only where they lie as on the host.
    std::vector<std::byte> slab(int s) const { return state_.slabs[size(s)].fetch(); }
    std::vector<std::byte> page(int i) const { return state_.pages[size(i)].fetch(); }
    void take_over(const State& on_host) {
        for (std::size_t s = 0; s < kSequences; ++s) send(on_host.slabs[s], state_.slabs[s]);
        for (std::size_t i = 0; i < on_host.pages.size(); ++i) send(on_host.pages[i], state_.pages[i]);
    }
    const Places& places() const { return places_; }

  private:
    static void send(const std::vector<std::byte>& from, const OnCard<std::byte>& to) {
        card_stream().copy(to.address(), from.data(), from.size());
        card_stream().synchronize();
    }
    RotaryView rotary() const { return {cosine_->address(), sine_->address(), kRotary / 2}; }
    void copy_rings(bool open) {
        cuda::RingsCall c;
        c.batch = batch_;
        for (const auto& r : ring_)
            if (r.row_bytes) c.rings[c.count++] = r;
        (open ? cuda::open_rings : cuda::close_rings)(c, card_handle());
    }

    const Shape shape_;
    Places places_;
    State empty_;
    StateOnCard state_;
    OnCard<std::byte*> pages_;
    OnCard<float> norm_, key_norm_, ape_, key_ape_, sinks_, frequencies_;
    cuda::RingPlace ring_[5];
    std::unique_ptr<OnCard<std::byte>> scratch_;
    std::unique_ptr<OnCard<cuda::Sequence>> sequences_;
    std::unique_ptr<OnCard<std::int64_t>> positions_;
    std::unique_ptr<OnCard<std::int32_t>> sequence_;
    std::unique_ptr<OnCard<float>> cosine_, sine_;
    cuda::BatchView batch_;
};

// Rows are rounded alike but for values next to a border, which fall one step to either side.
void expect_rows_near(const RowFormat& format, const std::vector<std::byte>& actual,
                      const std::vector<std::byte>& expected, std::int64_t begin, std::int64_t bytes) {
    std::vector<float> a(size(format.size)), b(a);
    for (std::int64_t at = begin; at < begin + bytes; at += format.bytes()) {
        decode_row(format, actual.data() + at, a.data());
        decode_row(format, expected.data() + at, b.data());
        expect_near(a, b, format.kind == Kind::fp4_key ? 0.34 : 0.07);
    }
}

class CardAttention : public testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(Shapes, CardAttention,
                         testing::Values(Shape{}, Shape{4, true, true}, Shape{128},
                                         Shape{0, false, false, true}, Shape{4, true, true, true},
                                         Shape{128, false, false, true}),
                         [](const auto& param) {
                             return "ratio" + std::to_string(param.param.ratio) +
                                    (param.param.rounds ? "fp8" : "f32");
                         });

TEST_P(CardAttention, IsThatOfTheReference) {
    CACHALOT_NEEDS_CARD();
    const Shape shape = GetParam();
    RandomData random(21);
    const Learned learned(random);
    OnHost host(shape, learned);
    Card card(shape, learned);
    std::int64_t length[kSequences] = {};
    const int passes[][kSequences] = {{1, 200}, {3, 1}, {130, 66}, {1, 1}, {65, 64}, {2, 300}, {300, 1}};
    for (const auto& counts : passes) {
        Pass p(shape, length, counts, random);
        card.begin(p);
        card.remember(p);
        Pass on_host = p;  // its queries are changed
        host.run(on_host);
        if (shape.rounds) {
            const Places& places = card.places();
            for (int s = 0; s < kSequences; ++s)
                expect_rows_near(places.window, card.slab(s), host.state.slabs[size(s)], 0,
                                 places.window.bytes() * (length[s] + counts[s]));
            for (int i = 0; shape.ratio && i < kSequences * kPages; ++i) {
                const std::int64_t rows = (256 + shape.ratio - 1) / shape.ratio;
                expect_rows_near(places.rows, card.page(i), host.state.pages[size(i)], 0,
                                 rows * places.rows.bytes());
                if (shape.indexer)
                    expect_rows_near(places.keys, card.page(i), host.state.pages[size(i)], places.keys_at,
                                     rows * places.keys.bytes());
            }
            card.take_over(host.state);
        }
        if (shape.indexer) {
            const auto chosen = card.choose(p);
            std::size_t same = 0;
            for (std::size_t i = 0; i < chosen.size(); ++i) same += chosen[i] == host.selected[i];
            EXPECT_GE(same, chosen.size() * 98 / 100);  // near ties
        }
        expect_near(card.attend(p, host.selected), host.out, 2e-5);
        for (int s = 0; s < kSequences; ++s) length[s] += counts[s];
    }
}

// Scores that are sums of small whole numbers are exact, so that the choice must be the same, also among the
// many that are equal.
TEST(CardChoice, TiesGoToTheFirst) {
    CACHALOT_NEEDS_CARD();
    constexpr int kN = 64, kH = 4, kK = 24;  // 1 / sqrt(n * heads) = 1/16
    for (const std::int64_t visible : {std::int64_t(25), std::int64_t(1000), std::int64_t(5000)}) {
        RandomData random(31);
        const std::int64_t pages = visible / 64 + 1;
        std::vector<float> keys(size(pages * 64 * kN)), q(kH * kN), weights(kH, 1.0f);
        for (float& x : keys) x = static_cast<float>(random.integer(-1, 1));
        for (float& x : q) x = static_cast<float>(random.integer(-1, 1));
        std::fill_n(keys.begin() + 10 * kN, kN, NAN);  // is chosen last
        std::vector<std::int32_t> expected(kK);
        std::vector<std::byte*> list;
        for (std::int64_t p = 0; p < pages; ++p)
            list.push_back(reinterpret_cast<std::byte*>(keys.data() + p * 64 * kN));
        IndexCall call;
        const std::vector<float> cosine(kN / 4, 1.0f), sine(kN / 4, 0.0f);
        std::vector<float> q_here = q;
        call.start = 4 * visible - 1, call.rows = 1, call.q = q_here.data(), call.weights = weights.data();
        call.rotary = {cosine.data(), sine.data(), kN / 4}, call.heads = kH, call.ratio = 4,
        call.hadamard = false;
        call.format = {Kind::f32, kN, kN / 2}, call.keys = {list.data(), 4, kN * 4, 0};
        call.top_k = kK, call.selected = expected.data();
        make_reference_primitives()->index({&call, 1});

        std::vector<OnCard<float>> there;
        std::vector<std::byte*> list_there;
        for (std::int64_t p = 0; p < pages; ++p)
            list_there.push_back(reinterpret_cast<std::byte*>(
                there.emplace_back(std::span<const float>(keys).subspan(size(p * 64 * kN), 64 * kN))
                    .address()));
        const OnCard<std::byte*> pages_there(list_there);
        const OnCard<cuda::Sequence> sequences(
            std::vector<cuda::Sequence>{{4 * visible - 1, 0, 1, nullptr, pages_there.address(), nullptr}});
        const OnCard<std::int64_t> positions(std::vector<std::int64_t>{4 * visible - 1});
        const OnCard<std::int32_t> sequence(std::vector<std::int32_t>{0}), selected(size(kK));
        const OnCard<float> q_there(q), weights_there(weights), cosine_there(cosine), sine_there(sine),
            scores(size(visible));
        cuda::ChooseCall c;
        c.batch.positions = positions.address(), c.batch.sequence = sequence.address();
        c.batch.sequences = sequences.address(), c.batch.rows = 1, c.batch.sequence_count = 1;
        c.q = q_there.address(), c.weights = weights_there.address();
        c.rotary = {cosine_there.address(), sine_there.address(), kN / 4};
        c.heads = kH, c.ratio = 4, c.hadamard = false, c.format = call.format, c.keys = {4, kN * 4, 0};
        c.top_k = kK, c.selected = selected.address(), c.scores = scores.address();
        c.score_stride = c.most_visible = visible;
        cuda::choose(c, card_handle());
        EXPECT_EQ(selected.fetch(), expected) << visible;
    }
}

}  // namespace
}  // namespace cachalot
