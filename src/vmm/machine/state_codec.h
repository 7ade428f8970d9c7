// Between the States of this machine and the messages of proto/state.proto. Private to
// machine_state.cpp, checkpoint_codec.cpp and the codecs beside them.
#pragma once

#include <fmt/format.h>
#include <proto/state.pb.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "vmm/machine/cpu_state.h"
#include "vmm/machine/platform.h"

namespace ftvmm::machine {

namespace pb = state;

// Bytes as protobuf has them.
std::string to_string(std::span<const std::byte> bytes);
std::vector<std::byte> to_bytes(const std::string& bytes);

// Collects what lies beside the message.
class Encoder {
  public:
    void add_bulk(std::span<const std::byte> bytes) {
        bulk_.insert(bulk_.end(), bytes.begin(), bytes.end());
    }
    [[nodiscard]] std::vector<std::byte> take_bulk() { return std::exchange(bulk_, {}); }

  private:
    std::vector<std::byte> bulk_;
};

// Turns what a message holds into what a State holds. What does not fit is noted, the first such
// thing by its name, and decoding goes on with zeroes: ask result() before using any of it.
class Decoder {
  public:
    explicit Decoder(std::span<const std::byte> bulk) : bulk_(bulk) {}

    void require(bool holds, const char* name) {
        if (!holds && wrong_.empty()) wrong_ = name;
    }
    // `value` as a `To`, if a `To` can hold it.
    template <class To, class From>
    To number(From value, const char* name) {
        const bool fits = std::in_range<To>(value);
        require(fits, name);
        return fits ? static_cast<To>(value) : To{};
    }
    // An enumerator up to `last`.
    template <class Enum>
    Enum enumerator(std::uint32_t value, Enum last, const char* name) {
        const bool fits = value <= static_cast<std::uint32_t>(last);
        require(fits, name);
        return fits ? static_cast<Enum>(value) : Enum{};
    }
    // Exactly as many elements as `To` has.
    template <class To, class From>
    To array(const From& from, const char* name) {
        To to{};
        const bool fits = static_cast<std::size_t>(from.size()) == std::size(to);
        require(fits, name);
        using Element = typename To::value_type;
        if (fits) {
            std::transform(from.begin(), from.end(), to.begin(),
                           [&](auto value) { return number<Element>(value, name); });
        }
        return to;
    }
    // The same of protobuf's bytes.
    template <class To>
    To bytes(const std::string& from, const char* name) {
        To to{};
        const bool fits = from.size() == std::size(to);
        require(fits, name);
        if (fits) {
            std::transform(from.begin(), from.end(), to.begin(),
                           [](char byte) { return static_cast<typename To::value_type>(byte); });
        }
        return to;
    }
    // The next `size` bytes of the bulk.
    std::vector<std::byte> take_bulk(std::uint64_t size, const char* name);

    // Nothing was wrong and nothing of the bulk is left.
    [[nodiscard]] Result<void> result() const;

  private:
    std::span<const std::byte> bulk_;
    std::string wrong_;
};

// state_codec_cpu.cpp
pb::Cpu encode(const CpuState& state);
CpuState decode(Decoder& in, const pb::Cpu& from);

// state_codec_devices.cpp
pb::Platform encode(Encoder& out, const Platform::State& state);
Platform::State decode(Decoder& in, const pb::Platform& from);

// state_codec_virtio.cpp
pb::VirtioDevices encode(Encoder& out, const VirtioDevices::State& state);
VirtioDevices::State decode(Decoder& in, const pb::VirtioDevices& from);

}  // namespace ftvmm::machine
