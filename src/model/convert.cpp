#include "model/convert.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "file/gguf_writer.h"
#include "model/background_writer.h"
#include "model/config_gguf_parts.h"
#include "model/draft_model.h"
#include "model/engram_keys.h"
#include "model/importance.h"
#include "model/part_tensors.h"
#include "model/release_record.h"
#include "quant/quantize.h"
#include "tensor/convert.h"

namespace cachalot {
namespace {

using Kind = TensorSpec::Kind;

constexpr std::int64_t kPieceBytes = std::int64_t(8) << 20;  // converted and written at a time
constexpr std::int64_t kRowsPerItem = 16;                    // that a thread takes at a time

// Changes whenever the same options lead to other bytes than before.
constexpr const char* kVersion = "1";

// A measurement over few tokens says more about them than about the expert: the weights of an expert that was
// seen n times are n parts its own and this many parts those of all experts together.
constexpr double kPriorTokens = 16;

// A tensor, the files that it is in, and the type that it gets.
struct Item {
    TensorSpec spec;
    const Checkpoint* source;
    DType type = DType::f32;
};

// What the files of one conversion have in common.
struct Work {
    const Checkpoint& source;
    const ConvertOptions& options;
    const ConvertProgress& progress;
    TypePlan plan;
    ThreadPool pool;
    std::uint64_t done = 0;
    ConvertSummary summary = {};

    void report(std::size_t size) {
        done += size;
        if (progress) progress(done, summary.bytes);
    }
};

// One file of a conversion. First all files declare what they have, so that mistakes are found before the
// work.
class Converter {
  public:
    Converter(Work& work, const std::filesystem::path& output)
        : work_(work), options_(work.options), writer_(output, OutputFile::Resumable{}) {}

    GgufWriter& writer() { return writer_; }

    void declare(std::vector<Item> items) {
        items_ = std::move(items);
        for (Item& item : items_) declare(item);
        work_.summary.tensors += static_cast<int>(items_.size());
    }

    void write() {
        work_.summary.resumed += writer_.resume(version(), options_.replace_unfinished);
        BackgroundWriter background(writer_, options_.checkpoint_bytes);
        background_ = &background;
        for (const Item& item : items_) write(item);
        background.drain();
    }

    void finish() { writer_.finish(); }

    // Whether every matrix has the type that it is stored as.
    bool is_whole() const {
        return std::ranges::all_of(items_, [](const Item& item) {
            if (!is_matrix(item.spec)) return true;
            const DType stored = matrix(item).dtype;
            return item.type == stored || (item.type == DType::mxfp4 && stored == DType::fp4_pairs);
        });
    }

  private:
    static bool is_matrix(const TensorSpec& s) {
        return s.kind == Kind::matrix || s.kind == Kind::plain || s.kind == Kind::experts;
    }

    static Matrix matrix(const Item& item, int expert = 0) {
        return stored_matrix(*item.source, item.spec, expert);
    }

    void declare(Item& item) {
        const TensorSpec& s = item.spec;
        if (s.kind == Kind::table) return declare_table(item);
        std::vector<std::int64_t> shape = {s.rows, s.columns};
        if (s.rows == 1) shape = {s.columns};
        if (s.kind == Kind::experts) shape.insert(shape.begin(), s.experts);
        DType type = s.kind == Kind::integers ? DType::i32 : DType::f32;
        if (is_matrix(s)) {
            const Matrix first = matrix(item);
            type = work_.plan.target(s, first);
            const DType kept = lossless_type(first.dtype);
            if (type != first.dtype && type != kept && type != DType::f32) ++work_.summary.changed;
            if (s.kind == Kind::experts && type == DType::f8_e4m3)
                fail("{}: tensor {}: experts cannot be f8_e4m3; choose another type for them",
                     item.source->source(), s.gguf);
        }
        writer_.declare(s.gguf, type, shape);
        if (type == DType::f8_e4m3)
            writer_.declare(
                scale_tensor(s.gguf), DType::i8,
                {blocks_of(s.rows, matrix(item).fp8_block), blocks_of(s.columns, matrix(item).fp8_block)});
        item.type = type;
    }

    // What decides about the data beside the directory.
    std::string version() const {
        std::string text = kVersion;
        for (const Checkpoint* source : {&work_.source, options_.drafter}) {
            if (!source) continue;
            for (const MappedFile& file : source->files()) {
                std::error_code ignored;
                const auto time =
                    std::filesystem::last_write_time(file.path(), ignored).time_since_epoch().count();
                text += fmt::format("\n{} {} {}", file.path(), file.size(), time);
            }
        }
        if (options_.importance)
            for (const auto& [name, entry] : options_.importance->entries()) {
                double sum = 0;
                for (float v : entry.sums) sum += v;
                text += fmt::format("\n{} {}", name, sum);
            }
        return text;
    }

    // FP8 rows are plain bytes with their scales behind them.
    void declare_table(Item& item) {
        const TensorSpec& s = item.spec;
        const EngramTable table = item.source->table(s.gguf, s.rows, s.columns);
        const bool fp8 = table.dtype == DType::f8_e4m3;
        item.type = fp8 ? DType::i8 : table.dtype;
        writer_.declare(s.gguf, item.type, {s.rows, fp8 ? table.row_bytes() : s.columns});
    }

    void write_table(const Item& item) {
        const TensorSpec& s = item.spec;
        const EngramTable table = item.source->table(s.gguf, s.rows, s.columns);
        const std::int64_t stride = table.row_bytes();
        const std::int64_t rows_per_piece = std::max<std::int64_t>(1, kPieceBytes / stride);
        for (std::int64_t first = 0; first < s.rows; first += rows_per_piece) {
            const std::int64_t count = std::min(rows_per_piece, s.rows - first);
            const auto size = static_cast<std::size_t>(count * stride);
            if (skip(s.gguf, size)) continue;
            auto piece = background_->buffer();
            piece.resize(size);
            for (std::int64_t r = 0; r < count; ++r) {
                std::byte* out = piece.data() + r * stride;
                for (const RowPart* part : {&table.values, &table.scales}) {
                    if (part->bytes == 0) continue;
                    std::memcpy(out, part->row(first + r), static_cast<std::size_t>(part->bytes));
                    out += part->bytes;
                }
            }
            append(s.gguf, std::move(piece));
        }
    }

    void write(const Item& item) {
        const TensorSpec& s = item.spec;
        if (s.kind == Kind::table) return write_table(item);
        if (s.kind == Kind::floats) {
            const auto values = item.source->floats(s.gguf, s.rows, s.columns);
            return write_bytes(s.gguf, std::as_bytes(std::span(values)));
        }
        if (s.kind == Kind::integers) {
            const auto values = item.source->integers(s.gguf, s.rows, s.columns);
            return write_bytes(s.gguf, std::as_bytes(std::span(values)));
        }
        const Matrix first = matrix(item);
        for (int e = 0; e < std::max(1, s.experts); ++e) {
            const Matrix m = matrix(item, e);
            if (m.dtype != first.dtype)
                fail("{}: tensor {}: expert {} has type {}, expert 0 {}", item.source->source(), s.gguf, e,
                     name(m.dtype), name(first.dtype));
            if (e + 1 < s.experts) advise(item, matrix(item, e + 1), MappedFile::Access::will_need);
            write_matrix(item, e, m);
        }
        if (item.type == DType::f8_e4m3) {
            const std::int64_t bytes = first.scale_rows() * first.scale_stride;
            write_bytes(scale_tensor(s.gguf),
                        std::as_bytes(std::span(first.scales, static_cast<std::size_t>(bytes))));
        }
    }

    void write_bytes(const std::string& name, std::span<const std::byte> bytes) {
        if (skip(name, bytes.size())) return;
        auto buffer = background_->buffer();
        buffer.assign(bytes.begin(), bytes.end());
        append(name, std::move(buffer));
    }

    void write_matrix(const Item& item, int expert, const Matrix& m) {
        const TensorSpec& s = item.spec;
        const DType type = item.type;
        const std::int64_t stride = row_bytes(type, m.columns);
        const std::int64_t rows_per_piece = std::max<std::int64_t>(1, kPieceBytes / stride);
        std::vector<float> weights;
        bool looked_up = false;
        for (std::int64_t first = 0; first < m.rows; first += rows_per_piece) {
            const std::int64_t count = std::min(rows_per_piece, m.rows - first);
            const auto size = static_cast<std::size_t>(count * stride);
            if (skip(s.gguf, size)) continue;
            if (!std::exchange(looked_up, true)) weights = importance(s, expert, m, type);
            auto piece = background_->buffer();
            piece.resize(size);
            work_.pool.parallel_for((count + kRowsPerItem - 1) / kRowsPerItem, [&](std::int64_t part, int) {
                std::vector<float> values(static_cast<std::size_t>(m.columns));
                for (std::int64_t r = part * kRowsPerItem; r < std::min(count, (part + 1) * kRowsPerItem);
                     ++r) {
                    const std::span<std::byte> out(piece.data() + r * stride,
                                                   static_cast<std::size_t>(stride));
                    try {
                        convert_row(m, first + r, type, values, weights, out);
                    } catch (const Error& error) {
                        fail("{}: tensor {}, row {}: {}", item.source->source(), s.gguf, first + r,
                             error.what());
                    }
                }
            });
            append(s.gguf, std::move(piece));
            Matrix read = m;
            read.data = m.row(first);
            read.rows = count;
            advise(item, read, MappedFile::Access::not_needed);
        }
    }

    static void convert_row(const Matrix& m, std::int64_t row, DType type, std::span<float> values,
                            std::span<const float> weights, std::span<std::byte> out) {
        if (type == m.dtype) {
            std::memcpy(out.data(), m.row(row), out.size());
        } else if (type == DType::mxfp4 && m.dtype == DType::fp4_pairs) {
            repack_fp4_row(reinterpret_cast<const std::uint8_t*>(m.row(row)), m.row_scales(row), m.columns,
                           out);
        } else {
            dequantize_row(m, row, values);
            quantize(type, values, weights, out);
        }
    }

    // Weights for the columns of a matrix; empty if none are known or needed.
    std::vector<float> importance(const TensorSpec& s, int expert, const Matrix& m, DType type) {
        const bool rounds = type != m.dtype && type != lossless_type(m.dtype) && info(type).elements > 1;
        if (!options_.importance || !rounds) return {};
        std::vector<float> own = options_.importance->find(s.gguf, expert, m.columns);
        if (s.kind == Kind::experts) {
            const std::vector<float> all = options_.importance->mean(s.gguf, m.columns);
            const auto found = options_.importance->entries().find(s.gguf);
            if (own.empty()) {
                own = all;
            } else if (found != options_.importance->entries().end()) {
                const auto seen = static_cast<double>(found->second.counts[static_cast<std::size_t>(expert)]);
                for (std::size_t i = 0; i < own.size() && i < all.size(); ++i)
                    own[i] =
                        static_cast<float>((seen * own[i] + kPriorTokens * all[i]) / (seen + kPriorTokens));
            }
        }
        if (own.empty() || !usable_importance(own)) {
            ++work_.summary.unmeasured;
            return {};
        }
        return own;
    }

    // The part of a mapped file that a matrix takes.
    static void advise(const Item& item, const Matrix& m, MappedFile::Access access) {
        const std::span<const std::byte> bytes(m.data, static_cast<std::size_t>(m.rows * m.stride));
        for (const MappedFile& file : item.source->files()) {
            const auto all = file.bytes();
            if (bytes.data() >= all.data() && bytes.data() < all.data() + all.size())
                return file.advise(access, bytes);
        }
    }

    bool skip(const std::string& name, std::size_t size) {
        if (skipping_ && writer_.skip(name, size)) {
            work_.report(size);
            return true;
        }
        return skipping_ = false;
    }

    void append(const std::string& name, std::vector<std::byte> bytes) {
        const std::size_t size = bytes.size();
        background_->append(name, std::move(bytes));
        work_.report(size);
    }

    Work& work_;
    const ConvertOptions& options_;
    std::vector<Item> items_;
    GgufWriter writer_;
    BackgroundWriter* background_ = nullptr;
    bool skipping_ = true;
};

std::string key_prefix(const Checkpoint& source) {
    return fmt::format("{}.", architecture_name(source.config().architecture));
}

// Of the parts that are there and not left out. Keys of the others are not set.
std::vector<Item> chosen_tensors(const Checkpoint& source, const ConvertOptions& options,
                                 GgufWriter& writer) {
    std::vector<Item> items;
    const auto add = [&](const Checkpoint& from, std::vector<TensorSpec> specs) {
        for (TensorSpec& spec : specs) items.push_back({std::move(spec), &from});
    };
    const bool own = has_drafter(source) && !options.leave_out_drafter && !options.drafter;
    if (!is_drafter_only(source)) add(source, model_tensors(source.config()));
    if (own)
        add(source, drafter_tensors(source.config()));
    else
        remove_drafter(key_prefix(source), writer);
    if (options.drafter) {
        write_drafter(options.drafter->config(), key_prefix(source), writer);
        add(*options.drafter, drafter_tensors(options.drafter->config()));
    }
    if (has_vision(source) && !options.leave_out_vision)
        add(source, vision_tensors(source.config()));
    else
        writer.remove_all(key_prefix(source) + "vision.");
    return items;
}

void check_options(const Checkpoint& source, const ConvertOptions& options) {
    const bool alone = is_drafter_only(source);
    if (!options.engram.empty() && (alone || !source.config().engram.present()))
        fail("{}: has no Engram tables to write to {}", source.source(), options.engram.string());
    if (alone && options.leave_out_drafter)
        fail("{}: has nothing but a drafter; do not leave it out", source.source());
    if (alone && options.drafter)
        fail("{}: is a drafter itself; leave out {}", source.source(), options.drafter->source());
    if (options.drafter && options.leave_out_drafter)
        fail("{}: cannot be put in if the drafter is left out", options.drafter->source());
}

// Where weights came from, and what is needed to write the release again if nothing of it is lost.
void describe(Converter& model, const Work& work) {
    GgufWriter& writer = model.writer();
    if (const ImportanceMatrix* importance = work.options.importance) {
        writer.set("quantize.imatrix.file", work.options.importance_name);
        writer.set<std::uint32_t>("quantize.imatrix.entries_count",
                                  static_cast<std::uint32_t>(importance->entries().size()));
        writer.set<std::uint32_t>("quantize.imatrix.chunks_count", importance->chunk_count);
    }
    // A drafter in place of the release's own is no part of the release.
    const bool replaced = work.options.drafter && has_drafter(work.source);
    if (model.is_whole() && !replaced)
        work.source.write_release_record(writer);
    else
        ReleaseRecord::clear(writer);
}

void describe_tables(const Config& config, GgufWriter& writer) {
    writer.set("general.type", kEngramFile);
    writer.set("general.architecture", architecture_name(config.architecture));
    if (!config.name.empty()) writer.set("general.name", config.name);
    write_engram_keys(config.engram, fmt::format("{}.", architecture_name(config.architecture)), writer);
}

}  // namespace

ConvertSummary convert(const Checkpoint& checkpoint, const std::filesystem::path& output,
                       const ConvertOptions& options, const ConvertProgress& progress) {
    check_options(checkpoint, options);
    const bool apart = !options.engram.empty();
    Work work{checkpoint, options, progress,
              TypePlan(options.types, checkpoint.config(), checkpoint.source()), ThreadPool(options.threads)};
    Converter model(work, output);
    std::optional<Converter> tables;
    checkpoint.write_metadata(model.writer());
    if (is_drafter_only(checkpoint)) model.writer().set("general.type", kDrafterFile);
    auto items = chosen_tensors(checkpoint, options, model.writer());
    if (apart) {
        tables.emplace(work, options.engram);
        describe_tables(checkpoint.config(), tables->writer());
        const auto is_table = [](const Item& item) { return item.spec.kind == Kind::table; };
        std::vector<Item> of_tables;
        std::ranges::copy_if(items, std::back_inserter(of_tables), is_table);
        std::erase_if(items, is_table);
        tables->declare(std::move(of_tables));
        work.summary.bytes += tables->writer().file_size();
    }
    model.declare(std::move(items));
    work.plan.check_all_used();
    describe(model, work);
    work.summary.bytes += model.writer().file_size();

    model.write();
    if (tables) {
        tables->write();
        tables->finish();
    }
    model.finish();
    return work.summary;
}

}  // namespace cachalot
