// The operations on the CPU: divides each among threads and calls the inner loops of table.h.
//
// Dividing. An operation becomes a list of items that do not share results; threads take them from either
// end. Items are cut so that a single row (decode) still fills all threads: along the outputs of matrices,
// the heads of attention, the blocks of keys. Very small operations run on the calling thread, since waking
// the others costs more.
#pragma once

#include <string>

#include "base/aligned.h"
#include "base/thread_pool.h"
#include "kernels/cpu/cpu_options.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/table.h"
#include "kernels/primitives.h"

namespace cachalot::cpu {

class CpuPrimitives final : public Primitives {
  public:
    CpuPrimitives(const Table& kernels,
                  const CpuOptions& options);  // options.isa has been used to choose the table

    const char* name() const override { return name_.c_str(); }
    std::string kernels() const override;
    int threads() const override { return pool_.size(); }
    void for_each(int items, const std::function<void(int item)>& body) override {
        pool_.parallel_for(items, [&](std::int64_t i, int) { body(static_cast<int>(i)); });
    }
    std::int64_t synchronizations() const override { return pool_.loops(); }

    void embed(const Matrix& table, std::span<const std::int32_t> tokens, float* streams) override;
    void hyper_connection_pre(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                              const float* norm, const float* streams, int rows, float* x, float* post,
                              float* comb, float* delayed) override;
    void hyper_connection_post(const HyperConnectionParams& params, const float* out, const float* post,
                               const float* comb, float* streams, int rows) override;
    void hyper_connection_head(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                               const float* norm, const float* streams, int rows, float* x,
                               const float* delayed) override;
    void average(const float* streams, int hidden, int rows, float* y, std::int64_t y_stride) override;
    void engram(const EngramParams& params, const float* kv, float* streams, int rows) override;
    void project(std::span<const Projection> projections, int rows) override;
    void rms_norm(float* x, const float* weight, float eps, int rows, int n) override;
    void query_heads(float* q, bool normalise, float eps, const RotaryView& rotary, int rows, int heads,
                     int head_dim) override;
    void latent(std::span<const LatentCall> calls) override;
    void compress(std::span<const CompressCall> calls) override;
    void keys(std::span<const KeyCall> calls) override;
    void index(std::span<const IndexCall> calls) override;
    void attend(std::span<const AttendCall> calls) override;
    void route(const RouteCall& call) override;
    void experts(const ExpertsCall& call) override;

  private:
    // Scratch of one thread, and of the whole operation.
    struct ThreadScratch {
        AlignedBuffer<float> keys, scores, values;
    };
    // Copies of activation rows in the forms that products want.
    class Rounded {
      public:
        // Room for `rows` copies of rows of `columns` floats from `x` on; those of the forms that are wanted.
        Activations reserve(const float* x, std::int64_t stride, std::int64_t columns, std::int64_t rows,
                            bool int8, bool bf16);
        void round(const Table& kernels, const float* from, std::int64_t row);
        void copy(std::int64_t from_row, std::int64_t to_row);

      private:
        AlignedBuffer<Int8Group> int8_;
        AlignedBuffer<std::uint16_t> bf16_;
        Int8Group* q_ = nullptr;
        std::uint16_t* b_ = nullptr;
        std::int64_t columns_ = 0, rows_ = 0;
    };

    // Runs body(item, thread); on this thread alone if the whole takes about `work` < kSmallWork
    // multiply-adds.
    template <class Body>
    void each(std::int64_t items, std::int64_t work, const Body& body) {
        if (work < kSmallWork)
            for (std::int64_t i = 0; i < items; ++i) body(i, 0);
        else
            pool_.parallel_for(items, body);
    }
    static constexpr std::int64_t kSmallWork =
        20'000;  // a few microseconds, as long as waking a thread takes

    Form form_for(const Matrix& w) const { return form_of(w.dtype, precision_, kernels_); }
    Activations round_rows(Form form, const float* x, std::int64_t stride, std::int64_t columns, int rows,
                           Rounded& out);
    void index_one(const IndexCall& call);
    void choose_blocks(const Candidates& candidates, const float* score, std::int64_t visible,
                       std::int32_t* blocks, ThreadScratch& scratch);
    class ExpertPass;  // the steps of experts()
    class Attention;
    // [rows, fn.rows] = fn v, v = all streams of a row; still to be multiplied by inverse_rms(v).
    float* mixes(const HyperConnectionWeights& weights, const HyperConnectionParams& params,
                 const float* streams, int rows);
    float inverse_rms(const HyperConnectionParams& params, const float* streams) const;

    const Table& kernels_;
    Precision precision_;
    std::string name_;
    ThreadPool pool_;
    std::vector<ThreadScratch> scratch_;  // [threads]
    std::vector<Rounded> rounded_;        // one for each distinct input of a project call
    Rounded expert_input_, expert_hidden_;
    AlignedBuffer<Int8Group> index_queries_;
    AlignedBuffer<float> mixes_, hidden_, partial_, index_scores_;
};

}  // namespace cachalot::cpu
