// How close the quantisers come to the best that each format can do, against searches that are far more
// thorough, and far slower.
#include <algorithm>
#include <cstdlib>
#include <functional>

#include "quant/quantize_test.h"
#include "tensor/iq_quants.h"
#include "tensor/k_quants.h"

namespace cachalot {
namespace {

using test::error;
using test::gaussian;
using test::nano;
using test::Values;

// The least error over steps: of `n` values with codes low..high, step = +-extreme / part, parts in `count`
// equal parts.
double best_step(const float* x, int n, int low, int high, double from, double to, int count) {
    double extreme = 0, best = HUGE_VAL;
    for (int i = 0; i < n; ++i) extreme = std::max(extreme, std::fabs(static_cast<double>(x[i])));
    if (extreme == 0) return 0;
    for (int k = 0; k <= 2 * count + 1; ++k) {
        const double part = from + (to - from) * (k / 2) / count, step = (k % 2 ? -1 : 1) * extreme / part;
        double xq = 0, qq = 0, xx = 0;
        for (int i = 0; i < n; ++i) {
            const double q =
                std::clamp(std::nearbyint(x[i] / step), static_cast<double>(low), static_cast<double>(high));
            xq += x[i] * q;
            qq += q * q;
            xx += static_cast<double>(x[i]) * x[i];
        }
        if (qq > 0) best = std::min(best, xx - xq * xq / qq);
    }
    return best;
}

// Over steps and minimums: codes begin and end anywhere around the least and the largest value.
struct BestLine {
    double error = HUGE_VAL, step = 0, minimum = 0;
};

BestLine best_line(const float* x, int n, int high, bool negative) {
    double least = *std::min_element(x, x + n), most = *std::max_element(x, x + n);
    BestLine best;
    if (negative) least = std::min(least, 0.0);
    if (most == least) return {0, 0, least};
    const double unit = (most - least) / high;
    constexpr int kNet = 28;
    for (int a = 0; a <= kNet; ++a)
        for (int b = 0; b <= kNet; ++b) {
            double begin = least + unit * 3 * (a - kNet / 2) / kNet,
                   end = most - unit * 4 * (b - kNet / 2) / kNet;
            if (negative) begin = std::min(begin, 0.0);
            if (end - begin < unit / 2) continue;
            const double step = (end - begin) / high;
            double sq = 0, sqq = 0, sx = 0, sxq = 0, sxx = 0;
            for (int i = 0; i < n; ++i) {
                const double q =
                    std::clamp(std::nearbyint((x[i] - begin) / step), 0.0, static_cast<double>(high));
                sq += q;
                sqq += q * q;
                sx += x[i];
                sxq += x[i] * q;
                sxx += static_cast<double>(x[i]) * x[i];
            }
            const double determinant = n * sqq - sq * sq;
            if (determinant <= 0) continue;
            double d = (n * sxq - sx * sq) / determinant, m = (sqq * sx - sq * sxq) / determinant;
            if (negative && m > 0) m = 0, d = sxq / sqq;
            const double error = sxx + d * d * sqq + m * m * n + 2 * (d * m * sq - d * sxq - m * sx);
            if (error < best.error) best = {error, d, m};
        }
    return best;
}

double summed(const Values& x, int n, const std::function<double(const float*)>& of_group) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); i += static_cast<std::size_t>(n)) sum += of_group(&x[i]);
    return sum;
}

struct Sample {
    const char* name;
    Values values;
};
std::vector<Sample> samples(std::size_t n) {
    return {{"gaussian", gaussian(n)},
            {"nano's experts", nano("blk.3.ffn_gate_exps.weight", n)},
            {"nano's shared expert", nano("blk.3.ffn_up_shexp.weight", n)}};
}

// At most 3 % above `bound`. Both may be nothing but rounding where a format holds the values exactly.
void expect_close(DType type, const Sample& sample, double bound) {
    double size = 0;
    for (float v : sample.values) size += static_cast<double>(v) * v;
    const double found = error(type, sample.values);
    EXPECT_LE(found, 1.03 * bound + 1e-5 * size) << name(type) << " " << sample.name << " " << found / bound;
    testing::Test::RecordProperty(std::string(name(type)) + " " + sample.name,
                                  fmt::format("{:.4f}", found / bound));
    if (std::getenv("CACHALOT_SHOW_QUALITY"))
        fmt::print("{:8} {:20} error {:.3e} of the values' squares, {:.4f} of the bound\n", name(type),
                   sample.name, found / size, found / bound);
}

TEST(Quality, OneScale) {
    for (const Sample& s : samples(4096)) {
        expect_close(DType::q8_0, s, summed(s.values, 32, [](const float* x) {
                         return best_step(x, 32, -127, 127, 100, 128, 1000);
                     }));
        expect_close(DType::q4_0, s, summed(s.values, 32, [](const float* x) {
                         return best_step(x, 32, -8, 7, 5.5, 9.5, 600);
                     }));
        expect_close(DType::q5_0, s, summed(s.values, 32, [](const float* x) {
                         return best_step(x, 32, -16, 15, 11, 18, 800);
                     }));
    }
}

TEST(Quality, ScaleAndMinimum) {
    for (const Sample& s : samples(4096)) {
        expect_close(DType::q4_1, s,
                     summed(s.values, 32, [](const float* x) { return best_line(x, 32, 15, false).error; }));
        expect_close(DType::q5_1, s,
                     summed(s.values, 32, [](const float* x) { return best_line(x, 32, 31, false).error; }));
    }
}

// Q4_K and Q5_K: for every pair of units on a net, every group takes the best of many scales and minimums (6
// bits) around those that it would like best.
double best_k(const float* x, int high) {
    BestLine lines[8];
    double largest = 0, lowest = 0, best = HUGE_VAL;
    for (int g = 0; g < 8; ++g) {
        lines[g] = best_line(x + 32 * g, 32, high, true);
        largest = std::max(largest, lines[g].step);
        lowest = std::max(lowest, -lines[g].minimum);
    }
    for (int i = 0; i < 10; ++i)
        for (int j = 0; j < 10; ++j) {
            const auto d = static_cast<float>(largest / (64 - 1.2 * i)),
                       dmin = static_cast<float>(lowest / (64 - 1.2 * j));
            double total = 0;
            for (int g = 0; g < 8 && total < best; ++g) {
                const int s0 = static_cast<int>(std::nearbyint(lines[g].step / d)),
                          m0 = static_cast<int>(std::nearbyint(-lines[g].minimum / dmin));
                float least = HUGE_VALF;
                for (int s = std::max(1, s0 - 5); s <= std::min(63, s0 + 5); ++s)
                    for (int m = std::max(0, m0 - 7); m <= std::min(63, m0 + 7); ++m) {
                        const float step = d * static_cast<float>(s), low = dmin * static_cast<float>(m),
                                    inverse = 1 / step;
                        float sum = 0;
                        for (int k = 32 * g; k < 32 * g + 32 && sum < least; ++k) {
                            const float q = std::nearbyint((x[k] + low) * inverse),
                                        top = static_cast<float>(high);
                            const float missed = x[k] - ((q < 0 ? 0 : q > top ? top : q) * step - low);
                            sum += missed * missed;
                        }
                        least = std::min(least, sum);
                    }
                total += least;
            }
            best = std::min(best, total);
        }
    return best;
}

// Q3_K and Q6_K likewise, with one unit and signed scales from -most to most - 1.
double best_signed_k(const float* x, int reach, int most) {
    double largest = 0, best = HUGE_VAL;
    float liked[16];
    for (int g = 0; g < 16; ++g) {
        double error = HUGE_VAL, extreme = 0;
        for (int i = 16 * g; i < 16 * g + 16; ++i)
            extreme = std::max(extreme, std::fabs(static_cast<double>(x[i])));
        for (int k = 0; k < 400; ++k) {
            const double step = (k % 2 ? -1 : 1) * extreme / (reach * (0.6 + 0.6 * (k / 2) / 200));
            double sum = 0;
            for (int i = 16 * g; i < 16 * g + 16; ++i)
                sum += std::pow(
                    x[i] - step * std::clamp(std::nearbyint(x[i] / step), -1.0 * reach, reach - 1.0), 2);
            if (sum < error) error = sum, liked[g] = static_cast<float>(step);
        }
        largest = std::max(largest, std::fabs(static_cast<double>(liked[g])));
    }
    for (int i = 0; i < 40; ++i) {
        const auto d = static_cast<float>((i % 2 ? 1 : -1) * largest / (most * (1.01 - 0.01 * (i / 2))));
        double total = 0;
        for (int g = 0; g < 256 && total < best; g += 16) {
            float least = HUGE_VALF;
            const int s0 = static_cast<int>(std::nearbyint(liked[g / 16] / d));
            for (int sign : {1, -1})
                for (int s = std::max(-most, sign * s0 - 10); s <= std::min(most - 1, sign * s0 + 10); ++s) {
                    const float step = d * static_cast<float>(s), inverse = s ? 1 / step : 0,
                                top = static_cast<float>(reach);
                    float sum = 0;
                    for (int k = g; k < g + 16 && sum < least; ++k) {
                        const float q = std::nearbyint(x[k] * inverse);
                        const float missed = x[k] - (q < -top ? -top : q > top - 1 ? top - 1 : q) * step;
                        sum += missed * missed;
                    }
                    least = std::min(least, sum);
                }
            total += least;
        }
        best = std::min(best, total);
    }
    return best;
}

TEST(Quality, SuperBlocks) {
    for (const Sample& s : samples(1024)) {
        expect_close(DType::q4_k, s, summed(s.values, 256, [](const float* x) { return best_k(x, 15); }));
        expect_close(DType::q5_k, s, summed(s.values, 256, [](const float* x) { return best_k(x, 31); }));
        expect_close(DType::q3_k, s,
                     summed(s.values, 256, [](const float* x) { return best_signed_k(x, 4, 32); }));
        expect_close(DType::q6_k, s,
                     summed(s.values, 256, [](const float* x) { return best_signed_k(x, 32, 128); }));
    }
}

// Q2_K: all pairs of scales and minimums, which have four bits, for every pair of units on a net.
double best_q2k(const float* x) {
    double largest = 0, best = HUGE_VAL;
    for (int i = 0; i < 256; ++i) largest = std::max(largest, std::fabs(static_cast<double>(x[i])));
    for (int i = 0; i < 14; ++i)
        for (int j = 0; j < 14; ++j) {
            const float d = static_cast<float>(largest / 15 * (0.35 + 0.04 * i)),
                        dmin = static_cast<float>(largest / 15 * (0.5 + 0.05 * j));
            double total = 0;
            for (int g = 0; g < 256 && total < best; g += 16) {
                float least = HUGE_VALF;
                for (int s = 1; s < 16; ++s)
                    for (int m = 0; m < 16; ++m) {
                        const float step = d * static_cast<float>(s), low = dmin * static_cast<float>(m),
                                    inverse = 1 / step;
                        float sum = 0;
                        for (int k = g; k < g + 16 && sum < least; ++k) {
                            const float q = std::nearbyint((x[k] + low) * inverse);
                            const float missed = x[k] - ((q < 0 ? 0 : q > 3 ? 3 : q) * step - low);
                            sum += missed * missed;
                        }
                        least = std::min(least, sum);
                    }
                total += least;
            }
            best = std::min(best, total);
        }
    return best;
}

TEST(Quality, Q2k) {
    for (const Sample& s : samples(512)) expect_close(DType::q2_k, s, summed(s.values, 256, best_q2k));
}

// All scales for every unit on a net, all patterns, the best of the eight signs to turn where parity asks for
// it.
template <int kValues, class Grid, class Levels>
double best_patterns(const float* x, const Grid& grid, int bits, const Levels& levels, int most, float unit) {
    double largest = 0, best = HUGE_VAL;
    for (int i = 0; i < 256; ++i) largest = std::max(largest, std::fabs(static_cast<double>(x[i])));
    for (int i = 0; i < 16; ++i) {
        const float d = static_cast<float>(largest / most * unit / 31 * (0.7 + 0.03 * i));
        double total = 0;
        for (int g = 0; g < 256 && total < best; g += 32) {
            float least = HUGE_VALF;
            for (int s = 4; s < 16; ++s) {
                const float c = d * static_cast<float>(2 * s + 1) / unit;
                float sum = 0;
                for (int o = g; o < g + 32 && sum < least; o += 8) {
                    int negative = 0;
                    for (int k = o; k < o + 8; ++k) negative += x[k] < 0;
                    float octet = HUGE_VALF;
                    for (int turned = negative % 2 ? 0 : 8; turned < (negative % 2 ? 8 : 9); ++turned) {
                        float parts = 0;
                        for (int p = o; p < o + 8; p += kValues) {
                            float part = HUGE_VALF;
                            for (auto pattern : grid) {
                                float e = 0;
                                for (int k = 0; k < kValues; ++k) {
                                    const float magnitude =
                                        std::fabs(x[p + k]) * (p + k - o == turned ? -1.0f : 1.0f);
                                    const float missed =
                                        magnitude -
                                        c * static_cast<float>(
                                                levels[pattern >> (bits * k) & ((1 << bits) - 1)]);
                                    e += missed * missed;
                                }
                                part = std::min(part, e);
                            }
                            parts += part;
                        }
                        octet = std::min(octet, parts);
                    }
                    sum += octet;
                }
                least = std::min(least, sum);
            }
            total += least;
        }
        best = std::min(best, total);
    }
    return best;
}

TEST(Quality, Patterns) {
    for (const Sample& s : {Sample{"gaussian", gaussian(256)},
                            Sample{"nano's experts", nano("blk.3.ffn_gate_exps.weight", 256)}}) {
        expect_close(DType::iq2_xxs, s,
                     best_patterns<8>(s.values.data(), kIq2xxsDigits, 2, kIq2Magnitudes, 43, 8));
        expect_close(DType::iq3_xxs, s,
                     best_patterns<4>(s.values.data(), kIq3xxsGrid, 4, kIq3xxsMagnitudes, 62, 4));
    }
}

}  // namespace
}  // namespace cachalot
