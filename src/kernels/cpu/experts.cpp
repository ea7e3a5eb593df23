// Router and experts on the CPU.
//
// The rows of a batch are grouped by expert, so an expert's weights are read once however many tokens chose
// it. Two parallel phases: gate and up with the activation, then down. An item is (expert, block of output
// rows, block of its rows), so a popular expert spreads over all threads; popular experts come first, so that
// no thread is left with one where those from the front and those from the back meet. Every (token, slot) has
// its own place for the result of `down`; a token's slots are added in slot order at the end, which makes the
// sum independent of the schedule, and of when an expert arrives: the phases are run once for all experts if
// they are in memory, else first for those that are and again for those that have come since.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/cpu/cpu_primitives.h"
#include "kernels/cpu/division.h"

namespace cachalot::cpu {
namespace {

constexpr std::int64_t kRowBlock = 16;  // rows that one item gathers or rounds

float affinity(float logit) {  // sqrt(softplus(x))
    return std::sqrt(logit > 20.0f ? logit : std::log1p(std::exp(logit)));
}

// The rows that one expert works on, gathered: places [first, first + rows) of the sorted order.
struct Group {
    const ExpertWeights* expert;  // until it has arrived only its shapes and types
    std::int64_t first, rows;
    float limit;
    std::int32_t id;  // or kSharedExpert
};

}  // namespace

void CpuPrimitives::route(const RouteCall& c) {
    each(c.rows, std::int64_t(c.rows) * c.experts * 8, [&](std::int64_t r, int thread) {
        const float* logits = c.logits + r * c.experts;
        std::int32_t* ids = c.ids + r * c.top_k;
        float* weights = c.weights + r * c.top_k;
        if (c.table) {
            std::copy_n(c.table + std::int64_t(c.tokens[r]) * c.top_k, c.top_k, ids);
        } else {
            float* score = scratch_[static_cast<std::size_t>(thread)].values.reserve(
                static_cast<std::size_t>(c.experts));
            for (int e = 0; e < c.experts; ++e) {
                score[e] = affinity(logits[e]) + c.bias[e];
                if (std::isnan(score[e]))
                    score[e] = -std::numeric_limits<float>::infinity();  // broken weights
            }
            for (int i = 0; i < c.top_k; ++i) {  // k is small: k passes beat a sort
                int best = -1;
                for (int e = 0; e < c.experts; ++e)
                    if ((best < 0 || score[e] > score[best]) && std::find(ids, ids + i, e) == ids + i)
                        best = e;
                ids[i] = best;
            }
        }
        float sum = 0;
        for (int i = 0; i < c.top_k; ++i) sum += weights[i] = affinity(logits[ids[i]]);
        for (int i = 0; i < c.top_k; ++i) weights[i] = weights[i] / sum * c.scale;
    });
}

// The steps of experts(), and what they share. A place is a row of the gathered inputs: first the slots
// [rows, top_k] in the order of their experts, then every row once more for the shared expert.
class CpuPrimitives::ExpertPass {
  public:
    ExpertPass(CpuPrimitives& primitives, const ExpertsCall& call);

    void gather();                            // the inputs of all places
    void compute(std::vector<Group>& ready);  // their results; reorders `ready`
    void sum();                               // y

    const std::vector<std::int32_t>& experts() const { return experts_; }
    const std::vector<std::int32_t>& rows() const { return rows_; }
    std::vector<Group> groups;  // of the routed experts, as experts()
    Group shared;

  private:
    // Calls body(group, piece) for pieces of the matrices that `pick` names; row 0 of a piece is the group's
    // first.
    template <class Pick, class Body>
    void for_blocks(const std::vector<Group>& ready, const Pick& pick, std::int64_t work, const Body& body);
    Activations activated(const std::vector<Group>& ready);
    Activations rows_of(const Activations& all, std::int64_t first, const Matrix& w) const {
        Activations a = all.from_row(first);
        const Form form = b_.form_for(w);
        if (form != Form::int8) a.q = nullptr;
        if (form != Form::bf16) a.b = nullptr;
        return a;
    }
    // A single row need not be copied for each expert (unless a table names one twice).
    bool one_row_each() const { return c_.rows == 1 && groups.size() == static_cast<std::size_t>(slots_); }
    std::int64_t input_place(std::int64_t place) const { return one_row_each() ? slots_ : place; }
    float route_weight(std::int64_t place) const {
        return place < slots_ ? c_.weights[order_[static_cast<std::size_t>(place)]] : 1.0f;
    }

    CpuPrimitives& b_;
    const ExpertsCall& c_;
    std::int64_t hidden_, slots_, places_, inner_ = 0;
    ExpertScratch scratch() const { return {places_, hidden_, inner_, {needed_[0], needed_[1], needed_[2]}}; }
    std::vector<std::int64_t> order_, place_;   // [slots_] slots by expert, stable; the place of each slot
    std::vector<std::int32_t> experts_, rows_;  // those chosen, ascending, and by how many rows
    bool needed_[3] = {};                       // the inputs, in each form
    bool needs(Form form) const { return needed_[static_cast<int>(form)]; }
    Activations input_;   // x_
    float* x_ = nullptr;  // [places_, hidden_] where an expert needs floats
    float *gate_ = nullptr, *up_ = nullptr, *result_ = nullptr;  // [places_, inner_] two, and hidden_
};

CpuPrimitives::ExpertPass::ExpertPass(CpuPrimitives& primitives, const ExpertsCall& call)
    : b_(primitives),
      c_(call),
      hidden_(call.shared->down.rows),
      slots_(std::int64_t(call.rows) * call.top_k),
      places_(slots_ + call.rows) {
    order_.resize(static_cast<std::size_t>(slots_));
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](auto a, auto b) { return c_.ids[a] < c_.ids[b]; });
    place_.resize(static_cast<std::size_t>(slots_));
    for (std::int64_t p = 0; p < slots_; ++p)
        place_[static_cast<std::size_t>(order_[static_cast<std::size_t>(p)])] = p;
    auto use = [&](const ExpertWeights& expert) {
        inner_ = std::max(inner_, expert.gate.rows);
        for (const Matrix* m : {&expert.gate, &expert.up, &expert.down})
            needed_[static_cast<int>(b_.form_for(*m))] = true;
    };
    for (std::int64_t i = 0; i < slots_;) {
        const std::int32_t id = c_.ids[order_[i]];
        std::int64_t end = i, row = -1;
        std::int32_t rows = 0;
        for (; end < slots_ && c_.ids[order_[end]] == id; ++end) {
            const std::int64_t before = std::exchange(row, order_[end] / c_.top_k);
            rows += row != before;  // a table may name an expert twice
        }
        const ExpertWeights& layout = c_.routed->layout(id);
        use(layout);
        groups.push_back({&layout, i, end - i, c_.limit, id});
        experts_.push_back(id);
        rows_.push_back(rows);
        i = end;
    }
    use(*c_.shared);
    shared = {c_.shared, slots_, c_.rows, c_.shared_limit, kSharedExpert};
}

// So that an expert's rows lie together; as floats only where an expert needs floats.
void CpuPrimitives::ExpertPass::gather() {
    const ExpertScratch sizes = scratch();
    x_ = b_.hidden_.reserve(static_cast<std::size_t>(sizes.inputs() + sizes.gates_and_ups()));
    gate_ = x_ + sizes.inputs();
    up_ = gate_ + places_ * inner_;
    result_ = b_.partial_.reserve(static_cast<std::size_t>(sizes.results()));
    input_ = b_.expert_input_.reserve(x_, hidden_, hidden_, places_, needs(Form::int8), needs(Form::bf16));
    b_.each(c_.rows, places_ * hidden_, [&](std::int64_t row, int) {  // rounded once, then copied
        const float* from = c_.x + row * hidden_;
        auto put = [&](std::int64_t place) {
            if (needs(Form::f32)) std::copy_n(from, hidden_, x_ + place * hidden_);
        };
        put(slots_ + row);
        b_.expert_input_.round(b_.kernels_, from, slots_ + row);
        if (one_row_each()) return;  // input_place()
        for (std::int64_t slot = row * c_.top_k; slot < (row + 1) * c_.top_k; ++slot) {
            put(place_[static_cast<std::size_t>(slot)]);
            b_.expert_input_.copy(slots_ + row, place_[static_cast<std::size_t>(slot)]);
        }
    });
}

template <class Pick, class Body>
void CpuPrimitives::ExpertPass::for_blocks(const std::vector<Group>& ready, const Pick& pick,
                                           std::int64_t work, const Body& body) {
    std::vector<Product> products;
    for (const Group& g : ready) products.push_back({&pick(*g.expert), g.rows});
    const auto pieces = divide(products, b_.pool_.size());
    b_.each(static_cast<std::int64_t>(pieces.size()), work, [&](std::int64_t i, int) {
        const Piece& piece = pieces[static_cast<std::size_t>(i)];
        body(ready[piece.product], piece);
    });
}

void CpuPrimitives::ExpertPass::compute(std::vector<Group>& ready) {
    std::int64_t work = 0;
    for (const Group& g : ready) work += g.rows * g.expert->gate.rows * hidden_;
    const std::vector<Group> by_place = ready;
    std::stable_sort(ready.begin(), ready.end(),
                     [](const Group& a, const Group& b) { return a.rows > b.rows; });

    const Table& kernels = b_.kernels_;
    for_blocks(
        ready, [](const ExpertWeights& e) -> const Matrix& { return e.gate; }, 2 * work,
        [&](const Group& g, const Piece& i) {
            const ExpertWeights& e = *g.expert;
            const std::int64_t place = g.first + i.row;
            float *gate = gate_ + place * inner_, *up = up_ + place * inner_;
            kernels.matmul(e.gate, i.first, i.last, rows_of(input_, input_place(place), e.gate), i.rows, gate,
                           inner_);
            kernels.matmul(e.up, i.first, i.last, rows_of(input_, input_place(place), e.up), i.rows, up,
                           inner_);
            for (std::int64_t r = 0; r < i.rows; ++r)
                kernels.swiglu(gate + r * inner_ + i.first, up + r * inner_ + i.first,
                               route_weight(place + r), g.limit, i.last - i.first);
        });

    if (c_.observer)
        for (const Group& g : by_place)
            c_.observer->activated(c_, g.id, gate_ + g.first * inner_, g.rows, g.expert->down.columns,
                                   inner_);
    const Activations hidden = activated(by_place);
    for_blocks(
        ready, [](const ExpertWeights& e) -> const Matrix& { return e.down; }, work,
        [&](const Group& g, const Piece& i) {
            const Matrix& w = g.expert->down;
            const std::int64_t place = g.first + i.row;
            kernels.matmul(w, i.first, i.last, rows_of(hidden, place, w), i.rows, result_ + place * hidden_,
                           hidden_);
        });
}

// The input of `down`, rounded if need be. Neighbouring groups are rounded as one, in blocks of rows.
Activations CpuPrimitives::ExpertPass::activated(const std::vector<Group>& ready) {
    const Activations hidden =
        b_.expert_hidden_.reserve(gate_, inner_, inner_, places_, needs(Form::int8), needs(Form::bf16));
    if (!hidden.q && !hidden.b) return hidden;
    struct Run {
        std::int64_t first, last;
    };
    std::vector<Run> blocks;
    std::int64_t rows = 0;
    for (const Group& g : ready) {  // by place
        rows += g.rows;
        for (std::int64_t p = g.first; p < g.first + g.rows;) {
            if (blocks.empty() || blocks.back().last != p || p - blocks.back().first == kRowBlock)
                blocks.push_back({p, p});
            blocks.back().last = std::min(g.first + g.rows, blocks.back().first + kRowBlock);
            p = blocks.back().last;
        }
    }
    b_.each(static_cast<std::int64_t>(blocks.size()), rows * inner_, [&](std::int64_t i, int) {
        const Run& run = blocks[static_cast<std::size_t>(i)];
        for (std::int64_t p = run.first; p < run.last; ++p)
            b_.expert_hidden_.round(b_.kernels_, gate_ + p * inner_, p);
    });
    return hidden;
}

void CpuPrimitives::ExpertPass::sum() {
    b_.each(c_.rows, places_ * hidden_, [&](std::int64_t r, int) {
        float* y = c_.y + r * hidden_;
        std::copy_n(result_ + place_[static_cast<std::size_t>(r * c_.top_k)] * hidden_, hidden_, y);
        for (int i = 1; i < c_.top_k; ++i)
            b_.kernels_.add(y, result_ + place_[static_cast<std::size_t>(r * c_.top_k + i)] * hidden_,
                            hidden_);
        b_.kernels_.add(y, result_ + (slots_ + r) * hidden_, hidden_);
    });
}

void CpuPrimitives::experts(const ExpertsCall& c) {
    ExpertPass pass(*this, c);
    c.routed->request(pass.experts(), pass.rows());
    pass.gather();
    std::vector<const ExpertWeights*> weights(pass.groups.size());
    std::vector<Group> ready;
    bool shared_done = false;
    for (std::size_t left = weights.size(); left > 0 || !shared_done;) {
        ready.clear();
        if (left > 0) left -= c.routed->next(weights);
        for (std::size_t i = 0; i < weights.size(); ++i)
            if (weights[i]) {
                ready.push_back(pass.groups[i]);
                ready.back().expert = weights[i];
            }
        if (!std::exchange(shared_done, true)) ready.push_back(pass.shared);
        pass.compute(ready);
    }
    pass.sum();
}

}  // namespace cachalot::cpu
