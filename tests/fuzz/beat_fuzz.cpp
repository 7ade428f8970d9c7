// Any bytes as beats: as they are, which are no beat of anyone's, and with the peer's own tag,
// which a peer with a defect could send. Nothing counts twice, and no lease is longer than an
// answer proves.
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <vector>

#include "base/check.h"
#include "fuzz_input.h"
#include "heartbeat/beat_session.h"

namespace ftvmm::heartbeat {
namespace {

using fuzz::FuzzInput;

constexpr std::size_t kTagBytes = 32;
constexpr int kMostSteps = 300;

BeatKey key_of(unsigned char seed) {
    std::array<std::byte, BeatKey::kBytes> secret{};
    std::ranges::generate(secret, [&] { return static_cast<std::byte>(seed++); });
    return BeatKey(secret);
}

// `bytes` are what the tag covers; it is that of the peer.
std::vector<std::byte> with_tag(std::vector<std::byte> bytes, const BeatKey& key) {
    std::array<unsigned char, kTagBytes> tag{};
    unsigned size = 0;
    (void)::HMAC(::EVP_sha256(), key.secret().data(), static_cast<int>(BeatKey::kBytes),
                 reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), tag.data(),
                 &size);
    const auto tag_bytes = std::as_bytes(std::span(tag));
    bytes.insert(bytes.end(), tag_bytes.begin(), tag_bytes.end());
    return bytes;
}

class Trial {
  public:
    explicit Trial(std::span<const std::uint8_t> bytes) : input_(bytes) {}

    void run() {
        for (int i = 0; i < kMostSteps && !input_.empty(); ++i) {
            switch (input_.below(4)) {
                case 0:
                    take(input_.take_bytes(input_.take<std::uint8_t>()));
                    break;
                case 1:
                    take(with_tag(input_.take_bytes(kBeatBytes - kTagBytes), from_peer_));
                    break;
                case 2:
                    take_honest();
                    break;
                default:
                    send();
                    break;
            }
        }
    }

  private:
    // A beat of the peer that says what a beat may.
    void take_honest() {
        Beat beat;
        beat.role = static_cast<Role>(1 + input_.below(3));
        beat.number = BeatNumber(1U + input_.take<std::uint16_t>());
        beat.sent_at = Instant(BootClock::duration(input_.take<std::int64_t>()));
        if (beat.role != Role::kGoingLive) beat.echo = BeatNumber(input_.take<std::uint16_t>());
        const auto bytes = encode_beat(beat, from_peer_);
        const auto again = decode_beat(bytes, from_peer_);
        FTVMM_CHECK(again && *again == beat, "what was written is read the same");
        take(std::vector(bytes.begin(), bytes.end()));
    }

    void take(const std::vector<std::byte>& datagram) {
        const auto before = session_.answered_from();
        const auto beat = session_.take(datagram);
        const auto after = session_.answered_from();
        if (!beat) {
            FTVMM_CHECK(before == after, "what is refused proves nothing");
            (void)name_of(beat.error());
            return;
        }
        FTVMM_CHECK(encode_beat(*beat, from_peer_).size() == datagram.size() &&
                        std::ranges::equal(encode_beat(*beat, from_peer_), datagram),
                    "a beat is written in one way alone");
        FTVMM_CHECK(taken_.insert(beat->number.value()).second, "no beat counts twice");
        FTVMM_CHECK(!before || after >= before, "an answer takes nothing back");
        FTVMM_CHECK(beat->echo.value() <= sent_.size(), "what was not sent is not answered");
        if (after != before) {
            FTVMM_CHECK(after == sent_.at(beat->echo.value() - 1),
                        "a lease begins when what is answered was sent");
        }
    }

    void send() {
        now_ += std::chrono::milliseconds(1 + input_.take<std::uint8_t>());
        sent_.push_back(now_);
        const auto role = static_cast<Role>(1 + input_.below(3));
        const auto beat = decode_beat(session_.next(role, now_), to_peer_);
        FTVMM_CHECK(beat && beat->number.value() == sent_.size(), "each beat has the next number");
        const bool is_answer = beat->echo != BeatNumber();
        FTVMM_CHECK(!is_answer || taken_.contains(beat->echo.value()),
                    "what did not come is not answered");
        FTVMM_CHECK(!is_answer || session_.promised_at() == now_, "an answer is a promise");
    }

    FuzzInput input_;
    BeatKey to_peer_ = key_of(0);
    BeatKey from_peer_ = key_of(1);
    BeatSession session_{PairIdentity{}, {to_peer_, from_peer_}};
    Instant now_;
    std::vector<Instant> sent_;
    std::set<std::uint64_t> taken_;
};

}  // namespace
}  // namespace ftvmm::heartbeat

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ftvmm::heartbeat::Trial({data, size}).run();
    return 0;
}
