#include "model/synthetic_release.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "file/output_file.h"
#include "model/model_tensors.h"
#include "model/random_blocks.h"
#include "model/synthetic_vocabulary.h"
#include "tensor/float_formats.h"
#include "tensor/matrix.h"

namespace cachalot {
namespace {

using json = nlohmann::ordered_json;
using Kind = TensorSpec::Kind;
using Role = TensorSpec::Role;

// What V4.1 has beyond V4, in the order of the release.
void add_v41(json& text, const Config& c) {
    json kv = json::array(), index = json::array();
    int candidates = -1;
    for (int l = 0; l < c.layers; ++l) {
        if (c.shape(l).kv_source == l) kv.push_back(l);
        if (c.shape(l).indexer) index.push_back(l);
        candidates = std::max(candidates, c.shape(l).candidate_source);
    }
    text["kv_source_layer_ids"] = kv;
    text["index_source_layer_ids"] = index;
    text["candidate_source_layer_id"] = candidates;
    text["candidate_topk_blocks"] = c.candidate_blocks;
    text["candidate_block_size"] = c.candidate_block_size;
    const EngramConfig& e = c.engram;
    text["engram_layer_ids"] = e.layers;
    text["engram_num_embeddings"] = e.rows;
    text["engram_max_ngram_size"] = e.longest;
    text["engram_vocab_size"] = e.present() ? e.primes.front() : 2;
    text["engram_n_heads"] = e.heads;
    text["engram_head_dim"] = e.row_size;
    text["engram_pad_token_id"] = e.pad_token;
    text["engram_compressed_vocab_size"] = e.classes;
}

json text_config(const Config& c) {
    json ratios = json::array();
    for (int l = 0; l < c.layers; ++l) ratios.push_back(c.shape(l).ratio);
    return {{"vocab_size", c.vocab_size},
            {"hidden_size", c.hidden_size},
            {"num_hidden_layers", c.layers},
            {"num_attention_heads", c.heads},
            {"num_key_value_heads", 1},
            {"head_dim", c.head_dim},
            {"qk_rope_head_dim", c.rope_dim},
            {"q_lora_rank", c.q_lora_rank},
            {"o_groups", c.output_groups},
            {"o_lora_rank", c.output_lora_rank},
            {"n_routed_experts", c.experts},
            {"num_experts_per_tok", c.experts_per_token},
            {"n_shared_experts", c.shared_experts},
            {"moe_intermediate_size", c.expert_hidden_size},
            {"scoring_func", "sqrtsoftplus"},
            {"topk_method", "noaux_tc"},
            {"norm_topk_prob", true},
            {"routed_scaling_factor", c.routed_scale},
            {"swiglu_limit", c.swiglu_limit.front()},
            {"num_hash_layers", c.hash_layers()},
            {"sliding_window", c.sliding_window},
            {"compress_ratios", ratios},
            {"compress_rope_theta", c.rope.compress_theta},
            {"rope_theta", c.rope.theta},
            {"rope_scaling",
             {{"type", "yarn"},
              {"factor", c.rope.yarn_factor},
              {"original_max_position_embeddings", c.rope.yarn_original_context},
              {"beta_fast", c.rope.yarn_beta_fast},
              {"beta_slow", c.rope.yarn_beta_slow}}},
            {"index_n_heads", c.index_heads},
            {"index_head_dim", c.index_head_dim},
            {"index_topk", c.index_top_k},
            {"hc_mult", kStreams},
            {"hc_sinkhorn_iters", c.sinkhorn_iterations},
            {"hc_eps", c.hyper_connection_eps},
            {"rms_norm_eps", c.norm_eps},
            {"max_position_embeddings", c.context_length},
            {"bos_token_id", c.bos},
            {"eos_token_id", c.eos},
            {"tie_word_embeddings", false}};
}

json config_json(const Config& c) {
    json quantization = {{"quant_method", "fp8"},
                         {"fmt", "e4m3"},
                         {"scale_fmt", "ue8m0"},
                         {"weight_block_size", {c.fp8_block, c.fp8_block}}};
    json text = text_config(c);
    json all = {{"architectures", {c.is_v41() ? "DeepseekV41ForCausalLM" : "DeepseekV4ForCausalLM"}},
                {"model_type", c.is_v41() ? "deepseek_v41" : "deepseek_v4"}};
    if (c.is_v41()) {
        quantization.erase("fmt");
        quantization["expert_dtype"] = "fp4";
        text.erase("num_hash_layers");
        add_v41(text, c);
        all["text_config"] = text;
    } else {
        all.update(text);
        all["expert_dtype"] = "fp4";
    }
    all["quantization_config"] = quantization;
    return all;
}

struct Stored {
    std::string name, type;  // as safetensors names it
    std::vector<std::int64_t> shape;
    int columns = 0;  // of the matrix, which decides about the size of its values
    enum class Content { fp4, fp4_scale, fp8, fp8_scale, bf16, f32, norm, table, zeros } content;
    std::uint64_t bytes = 0;
};

class Writer {
  public:
    Writer(const Config& config, std::uint64_t seed, const std::filesystem::path& folder,
           const SyntheticProgress& progress, std::uint64_t file_bytes, bool zero_tables)
        : config_(config),
          seed_(seed),
          folder_(folder),
          progress_(progress),
          file_bytes_(file_bytes),
          zero_tables_(zero_tables) {}

    SyntheticSummary run() {
        for (const auto& spec : model_tensors(config_)) add(spec);
        for (const Stored& t : tensors_) {
            total_ += t.bytes;
            if (t.content == Content::zeros) summary_.holes += t.bytes;
        }
        std::filesystem::create_directories(folder_);
        check_space(folder_ / "config.json", total_ - summary_.holes);
        write_text("config.json", config_json(config_).dump(2) + "\n");
        write_text("tokenizer.json", tokenizer_json(synthetic_vocabulary(config_.vocab_size)));

        std::vector<std::size_t> starts = {0};  // of files
        std::uint64_t size = 0;
        for (std::size_t i = 0; i < tensors_.size(); ++i) {
            if (size && size + tensors_[i].bytes > file_bytes_) starts.push_back(i), size = 0;
            size += tensors_[i].bytes;
        }
        starts.push_back(tensors_.size());
        json map = json::object();
        for (std::size_t f = 0; f + 1 < starts.size(); ++f) {
            const std::string file =
                fmt::format("model-{:05}-of-{:05}.safetensors", f + 1, starts.size() - 1);
            for (std::size_t i = starts[f]; i < starts[f + 1]; ++i) map[tensors_[i].name] = file;
            write_file(file, starts[f], starts[f + 1]);
        }
        write_text("model.safetensors.index.json",
                   json{{"metadata", {{"total_size", total_}}}, {"weight_map", map}}.dump(2) + "\n");
        summary_.tensors = static_cast<int>(tensors_.size());
        return summary_;
    }

  private:
    using Content = Stored::Content;

    void add(const TensorSpec& s) {
        const std::vector<std::int64_t> shape =
            s.rows == 1 ? std::vector{s.columns} : std::vector{s.rows, s.columns};
        const auto put = [&](const std::string& name, const char* type, std::vector<std::int64_t> size,
                             Content content, int width) {
            std::int64_t count = width;
            for (auto n : size) count *= n;
            tensors_.push_back({name, type, std::move(size), static_cast<int>(s.columns), content,
                                static_cast<std::uint64_t>(count)});
        };
        if (s.kind == Kind::experts) {
            for (int e = 0; e < s.experts; ++e) {
                const std::string name = fmt::format(fmt::runtime(s.release), e);
                put(name, "I8", {s.rows, s.columns / 2}, Content::fp4, 1);
                put(scale_tensor(name), "F8_E8M0", {s.rows, s.columns / kFp4Block}, Content::fp4_scale, 1);
            }
        } else if (s.kind == Kind::table) {
            put(s.release, "F8_E4M3", shape, zero_tables_ ? Content::zeros : Content::fp8, 1);
            put(scale_tensor(s.release), "F8_E8M0", {s.rows, s.columns / kEngramBlock},
                zero_tables_ ? Content::zeros : Content::fp8_scale, 1);
        } else if (s.kind == Kind::integers) {
            put(s.release, "I64", shape, Content::table, 8);
        } else if (is_fp8_in_releases(s.role)) {
            put(s.release, "F8_E4M3", shape, Content::fp8, 1);
            put(scale_tensor(s.release), "F8_E8M0",
                {blocks_of(s.rows, config_.fp8_block), blocks_of(s.columns, config_.fp8_block)},
                Content::fp8_scale, 1);
        } else if (s.release.ends_with("norm.weight")) {
            put(s.release, "BF16", shape, Content::norm, 2);
        } else if (s.release.ends_with("weight")) {
            put(s.release, "BF16", shape, Content::bf16, 2);
        } else {
            put(s.release, "F32", shape, Content::f32, 4);
        }
    }

    void write_text(const std::string& name, const std::string& text) {
        OutputFile out(folder_ / name);
        out.write(std::as_bytes(std::span(text)));
        out.commit();
        summary_.bytes += text.size();
    }

    void write_file(const std::string& name, std::size_t first, std::size_t last) {
        json header = json::object();
        std::uint64_t offset = 0;
        for (std::size_t i = first; i < last; ++i) {
            const Stored& t = tensors_[i];
            header[t.name] = {
                {"dtype", t.type}, {"shape", t.shape}, {"data_offsets", {offset, offset + t.bytes}}};
            offset += t.bytes;
        }
        std::string text = header.dump();
        text.resize((text.size() + 7) / 8 * 8, ' ');
        OutputFile out(folder_ / name);
        const std::uint64_t size = text.size();
        out.write(std::as_bytes(std::span(&size, 1)));
        out.write(std::as_bytes(std::span(text)));
        for (std::size_t i = first; i < last; ++i) {
            if (tensors_[i].content == Content::zeros)
                out.skip(tensors_[i].bytes);
            else
                write_tensor(out, i);
            done_ += tensors_[i].bytes;
            if (progress_) progress_(done_, total_);
        }
        out.commit();
        summary_.bytes += sizeof size + text.size() + offset;
    }

    void write_tensor(OutputFile& out, std::size_t i) {
        // Tables may be larger than memory.
        constexpr std::uint64_t kPiece = std::uint64_t(2) << 30;
        for (std::uint64_t at = 0; at < tensors_[i].bytes; at += kPiece) {
            buffer_.resize(std::min(kPiece, tensors_[i].bytes - at));
            fill(tensors_[i], RandomBits::mix(seed_ ^ RandomBits::mix(i + 1) ^ at));
            out.write(buffer_);
        }
    }

    // The output of a matrix is about as large as its input.
    void fill(const Stored& t, std::uint64_t seed) {
        RandomBits random(seed);
        const double deviation = 1 / std::sqrt(static_cast<double>(t.columns));
        switch (t.content) {
            case Content::zeros: return;  // not written
            case Content::fp4: random.fill(buffer_); return;
            case Content::fp8:  // exponents 2^-3 to 2^0 only: no NaN, deviation 0.8
                random.fill(buffer_);
                for (auto& b : buffer_) b = (b & std::byte{0x9f}) | std::byte{0x20};
                return;
            case Content::fp4_scale:  // codes have deviation 2.9; every other block has twice the scale
            case Content::fp8_scale: {
                const double codes = t.content == Content::fp4_scale ? 2.9 : 0.8;
                const int exponent = 127 + static_cast<int>(std::floor(std::log2(deviation / codes)));
                random.fill(buffer_);
                for (auto& b : buffer_) b = static_cast<std::byte>(exponent + (static_cast<int>(b) & 1));
                return;
            }
            case Content::table:
                for (std::size_t i = 0; i < buffer_.size(); i += 8) {
                    const std::uint64_t expert = random.next() % static_cast<std::uint64_t>(config_.experts);
                    std::memcpy(&buffer_[i], &expert, 8);
                }
                return;
            case Content::f32:
                for (std::size_t i = 0; i < buffer_.size(); i += 4) {
                    const float v = 0.3f * (static_cast<float>(random.next() >> 40) * 0x1p-23f - 1.0f);
                    std::memcpy(&buffer_[i], &v, 4);
                }
                return;
            case Content::norm:
            case Content::bf16: {
                const float centre = t.content == Content::norm ? 1 : 0;
                const float reach = t.content == Content::norm ? 0.2f : static_cast<float>(1.7 * deviation);
                for (std::size_t i = 0; i < buffer_.size(); i += 2) {
                    const std::uint16_t v = f32_to_bf16(
                        centre + reach * (static_cast<float>(random.next() >> 40) * 0x1p-23f - 1.0f));
                    std::memcpy(&buffer_[i], &v, 2);
                }
                return;
            }
        }
    }

    const Config& config_;
    const std::uint64_t seed_;
    const std::filesystem::path folder_;
    const SyntheticProgress& progress_;
    const std::uint64_t file_bytes_;
    const bool zero_tables_;
    std::vector<Stored> tensors_;
    std::vector<std::byte> buffer_;
    std::uint64_t done_ = 0, total_ = 0;
    SyntheticSummary summary_;
};

// Moves what was written to its name. Of a release that is there the weights go first.
void put_in_place(const std::filesystem::path& partial, const std::filesystem::path& whole) {
    namespace fs = std::filesystem;
    if (!fs::exists(whole)) return fs::rename(partial, whole);
    for (const auto& old : fs::directory_iterator(whole))
        if (old.path().extension() == ".safetensors") fs::remove(old.path());
    for (const auto& entry : fs::directory_iterator(partial))
        fs::rename(entry.path(), whole / entry.path().filename());
    fs::remove(partial);
}

}  // namespace

SyntheticSummary write_synthetic_release(const Config& config, std::uint64_t seed,
                                         const std::filesystem::path& folder,
                                         const SyntheticProgress& progress, std::uint64_t file_bytes,
                                         bool zero_tables) {
    const Config fitted = with_synthetic_classes(config);
    validate(fitted, "the synthetic model");
    // A release appears under its name all at once; where a folder is there, its files come one by one.
    namespace fs = std::filesystem;
    auto whole = fs::absolute(folder).lexically_normal();
    if (!whole.has_filename()) whole = whole.parent_path();
    const fs::path partial = whole.string() + ".partial";
    if (fs::exists(fs::symlink_status(partial)))
        fail("{}: exists, perhaps of an attempt that was interrupted; remove it", partial.string());
    SyntheticSummary summary;
    try {
        summary = Writer(fitted, seed, partial, progress, file_bytes, zero_tables).run();
    } catch (const std::exception& e) {
        std::error_code error;
        fs::remove_all(partial, error);
        if (const auto* of_files = dynamic_cast<const fs::filesystem_error*>(&e))
            fail("{}: {}", folder.string(), of_files->code().message());
        throw;
    }
    try {
        put_in_place(partial, whole);
    } catch (const fs::filesystem_error& e) {  // what is finished stays
        fail("{}: {}; the release is finished and in {}", folder.string(), e.code().message(),
             partial.string());
    }
    return summary;
}

}  // namespace cachalot
