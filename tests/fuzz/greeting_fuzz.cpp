// Any bytes as the first words of a peer: frames around any payloads, or any stream at all.
#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "ftlink/frame.h"
#include "ftlink/greeting.h"
#include "ftlink/handshake.h"
#include "fuzz_input.h"

namespace ftvmm::fuzz {
namespace {

using namespace ftlink;

Hello mine() {
    return {.build = "0.1.0",
            .cpu_identity = "c",
            .vm_uuid = "u",
            .generation = Generation(7),
            .dead_after_ms = 400,
            .role = LinkRole::kPrimary,
            .host = "a",
            .machine_id = "m",
            .memory_bytes = 64,
            .first_seq = replay::Seq(5)};
}

bool is_line(const std::string& text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

void try_payload(std::span<const std::byte> payload) {
    const auto hello = decode_hello(payload);
    FTVMM_CHECK(hello || is_line(hello.error().line()), "what is wrong is told in one line");
    if (hello && hello->protocol_version == kProtocolVersion) {
        const auto again = encode_hello(*hello);
        FTVMM_CHECK(again && decode_hello(*again) == *hello,
                    "what was read is written and read the same");
    }
    const auto refusal = decode_refusal(payload);
    FTVMM_CHECK(refusal || is_line(refusal.error().line()), "what is wrong is told in one line");
    if (!refusal) return;
    FTVMM_CHECK(is_line(error_of_other(*refusal).line()), "a refusal is told in one line");
    FTVMM_CHECK(decode_refusal(encode_refusal(*refusal)) == *refusal,
                "what was read is written and read the same");
}

// As far as the greeting goes: it says little, it ends in an agreement or in one line.
void listen_to(Greeting& greeting, FrameDecoder& decoder) {
    while (!greeting.is_agreed()) {
        const auto frame = decoder.next();
        if (!frame || !*frame) return;
        const auto taken = greeting.step(**frame);
        std::size_t said = 0;
        for (const OutgoingFrame& out : greeting.take_frames()) {
            FTVMM_CHECK(out.payload.size() <= kMaxHandshakeBytes, "what is said keeps its limit");
            ++said;
        }
        FTVMM_CHECK(said <= 2, "a word is answered by a word or two");
        if (taken) continue;
        FTVMM_CHECK(is_line(taken.error().line()), "what is wrong is told in one line");
        return;
    }
    FTVMM_CHECK(!compare(mine(), greeting.peer(), "b"), "who agreed makes a pair");
}

}  // namespace
}  // namespace ftvmm::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace ftvmm;
    fuzz::FuzzInput input({data, size});
    const auto side =
        input.take_bool() ? ftlink::Greeting::Side::kAccepts : ftlink::Greeting::Side::kConnects;
    auto greeting = ftlink::Greeting::create(fuzz::mine(), side, "b");
    FTVMM_CHECK(greeting.has_value(), "this hello keeps its limits");
    ftlink::FrameDecoder decoder;
    if (input.take_bool()) {
        const auto bytes = std::as_bytes(std::span(data, size));
        decoder.feed(bytes.subspan(std::min<std::size_t>(size, 2)));
        fuzz::listen_to(*greeting, decoder);
        return 0;
    }
    // Frames as they must be, with a payload of any bytes: kind, length, payload.
    while (!input.empty()) {
        const auto kind = static_cast<ftlink::FrameKind>(1 + input.below(9));
        const auto payload = input.take_bytes(input.take<std::uint8_t>());
        fuzz::try_payload(payload);
        const auto frame = ftlink::make_frame(
            kind, {payload.begin(),
                   payload.begin() + static_cast<std::ptrdiff_t>(std::min(
                                         payload.size(), ftlink::most_payload_bytes(kind)))});
        decoder.feed(frame.header);
        decoder.feed(frame.payload);
    }
    fuzz::listen_to(*greeting, decoder);
    return 0;
}
