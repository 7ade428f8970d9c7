#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "guest_test.h"
#include "images.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::guests {

Result<void> test_port_echo(const kvm::System& system) {
    struct Width {
        std::uint16_t in_port;
        std::uint32_t mask;
    };
    constexpr std::array kWidths{Width{0xe0, 0xff}, Width{0xe2, 0xffff}, Width{0xe4, 0xffffffff}};
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::port_echo()));
    for (std::uint32_t round = 1; round <= 3; ++round) {
        for (const Width& width : kWidths) {
            const std::uint32_t value = round * 0x91a2b3c5;
            FTVMM_TRY(guest.expect_in(width.in_port, value));
            FTVMM_TRY(guest.expect_out(static_cast<std::uint16_t>(width.in_port + 1),
                                       value & width.mask));
        }
    }
    return guest.expect_hlt();
}

namespace {

// What the guest of string_io.S gives and takes, as it goes on.
struct StringIo {
    std::size_t asked = 0;         // Bytes answered on port 0xe0.
    std::vector<std::byte> bytes;  // From port 0xe1.
    std::vector<std::byte> words;  // From port 0xe2.
    std::vector<std::byte> rcx;    // From port 0xe3.

    // The n-th byte that port 0xe0 gives: no two neighbours, words or pages alike.
    static std::byte pattern(std::size_t n) { return static_cast<std::byte>(n * 7 + n / 256); }

    bool take(const kvm::exit::IoIn& in) {
        if (in.port != 0xe0 || in.size != 1) return false;
        for (std::byte& byte : in.data)
            byte = pattern(asked++);
        return true;
    }
    bool take(const kvm::exit::IoOut& out) {
        std::vector<std::byte>* target = out.port == 0xe1   ? &bytes
                                         : out.port == 0xe2 ? &words
                                         : out.port == 0xe3 ? &rcx
                                                            : nullptr;
        if (target == nullptr) return false;
        target->insert(target->end(), out.data.begin(), out.data.end());
        return true;
    }
};

Result<void> check_string_io(const StringIo& seen) {
    constexpr std::size_t kBytes = 3000;
    constexpr std::size_t kWords = 600;
    if (seen.asked != kBytes) return fail(fmt::format("REP INSB took {} bytes", seen.asked));
    if (seen.bytes.size() != kBytes || seen.words.size() != 2 * kWords) {
        return fail(fmt::format("REP OUTS gave {} bytes and {} bytes of words", seen.bytes.size(),
                                seen.words.size()));
    }
    for (std::size_t i = 0; i < kBytes; ++i) {
        if (seen.bytes[i] != StringIo::pattern(i)) {
            return fail(fmt::format("byte {} of REP OUTSB is wrong", i));
        }
    }
    for (std::size_t word = 0; word < kWords; ++word) {
        for (std::size_t half = 0; half < 2; ++half) {
            const std::size_t from = 2 * (kWords - 1 - word) + half;
            if (seen.words[2 * word + half] != StringIo::pattern(from)) {
                return fail(fmt::format("word {} of the backward REP OUTSW is wrong", word));
            }
        }
    }
    const bool rcx_is_zero = seen.rcx.size() == 4 && std::ranges::all_of(seen.rcx, [](auto byte) {
                                 return byte == std::byte{0};
                             });
    if (!rcx_is_zero) return fail("RCX is not 0 after REP");
    return {};
}

}  // namespace

Result<void> test_string_io(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::string_io()));
    StringIo seen;
    for (;;) {
        FTVMM_ASSIGN(const kvm::Exit exit, guest.run());
        if (std::holds_alternative<kvm::exit::Hlt>(exit)) return check_string_io(seen);
        const auto* in = std::get_if<kvm::exit::IoIn>(&exit);
        const auto* out = std::get_if<kvm::exit::IoOut>(&exit);
        const bool taken = (in != nullptr && seen.take(*in)) || (out != nullptr && seen.take(*out));
        if (!taken) return Failure(guest.unexpected("string I/O", exit));
    }
}

namespace {

constexpr std::uint64_t kMmioValue = 0xf1e2d3c4b5a69788;

Result<void> expect_mmio_read(SmallGuest& guest, std::uint64_t offset, std::size_t size,
                              std::uint64_t answer) {
    FTVMM_ASSIGN(const kvm::Exit exit, guest.run());
    const auto* read = std::get_if<kvm::exit::MmioRead>(&exit);
    if (read == nullptr || read->address != SmallGuest::kMmio + offset ||
        read->data.size() != size) {
        return Failure(
            guest.unexpected(fmt::format("MMIO read of {} at +{:#x}", size, offset), exit));
    }
    std::memcpy(read->data.data(), &answer, size);
    return {};
}

Result<void> expect_mmio_write(SmallGuest& guest, std::uint64_t offset, std::size_t size,
                               std::uint64_t value) {
    FTVMM_ASSIGN(const kvm::Exit exit, guest.run());
    const auto* write = std::get_if<kvm::exit::MmioWrite>(&exit);
    if (write == nullptr || write->address != SmallGuest::kMmio + offset ||
        write->data.size() != size || std::memcmp(write->data.data(), &value, size) != 0) {
        return Failure(
            guest.unexpected(fmt::format("MMIO write of {} at +{:#x}", size, offset), exit));
    }
    return {};
}

// The bytes from `offset` on of a store of `value` that KVM may hand over in any pieces.
Result<void> expect_mmio_store_in_pieces(SmallGuest& guest, std::uint64_t offset,
                                         std::uint64_t value) {
    std::size_t done = 0;
    int pieces = 0;
    while (done < sizeof value) {
        FTVMM_ASSIGN(const kvm::Exit exit, guest.run());
        const auto* write = std::get_if<kvm::exit::MmioWrite>(&exit);
        const std::uint64_t rest = value >> (8 * done);
        if (write == nullptr || write->address != SmallGuest::kMmio + offset + done ||
            write->data.size() > sizeof value - done ||
            std::memcmp(write->data.data(), &rest, write->data.size()) != 0) {
            return Failure(guest.unexpected("the next piece of a store", exit));
        }
        done += write->data.size();
        ++pieces;
    }
    if (pieces < 2) return fail("a store over a page's border came as one piece");
    return {};
}

}  // namespace

Result<void> test_mmio(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::mmio()));
    for (const std::size_t size : {1U, 2U, 4U, 8U}) {
        FTVMM_TRY(expect_mmio_read(guest, 0, size, kMmioValue));
        FTVMM_TRY(expect_mmio_write(guest, 0x100, size, kMmioValue));
    }
    FTVMM_TRY(expect_mmio_read(guest, 0x200, 4, 0xffffffff));
    FTVMM_TRY(expect_mmio_write(guest, 0x200, 4, 0));
    FTVMM_TRY(expect_mmio_store_in_pieces(guest, 0xffc, 0x1122334455667788));
    return guest.expect_hlt();
}

}  // namespace ftvmm::guests
