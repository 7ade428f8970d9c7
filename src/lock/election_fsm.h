// One generation, one owner: who links its claim first. No clock decides. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/clock.h"
#include "lock/generation.h"
#include "lock/storage.h"

namespace ftvmm::lock {

namespace outcome {

struct Won {};
// For good: this side halts.
struct Lost {
    Claim owner;
};
// For good: this is not the storage that the generation before was won on, so it decides nothing
// between this side and who won that.
struct Elsewhere {
    std::string why;
};

}  // namespace outcome

using Outcome = std::variant<outcome::Won, outcome::Lost, outcome::Elsewhere>;

// Bids for one generation. Until there is an outcome the gate is shut, however long that takes:
// storage that does not answer means wait.
//
// state     asks for            Done      Taken    Content              Missing  else
// checking  Read(gen-(n-1))     -         -        of who won it:       else-    again later
//                                                  enrolling, other:    where
//                                                  elsewhere, damaged:
//                                                  again later
// enrolling WriteOwn(claim)     ready     -        -                    -        again later
// ready     nothing, until contest(): linking
// linking   Link(claim, gen-n)  won       reading  -                    -        again later
// reading   Read(gen-n)         -         -        own nonce: won,      linking  again later
//                                                  other: lost,
//                                                  damaged: again later
// won, lost nothing, ever
//
// Own nonce behind Taken: the link was made and its reply was lost. One request at a time; each is
// answered in the end. One thread.
class ElectionFsm {
  public:
    // Between an Unknown and the next try: storage in trouble is not to be asked in a loop.
    static constexpr std::chrono::milliseconds kRetryAfter{200};

    // `behind`: who won the generation before on its own word, which the storage is to confirm.
    explicit ElectionFsm(Claim mine, std::optional<Nonce> behind = std::nullopt);

    // The peer is lost, or the next pair is to be published.
    void contest() { is_contested_ = true; }
    // What to ask for at `now`; nothing while something is asked, or until retry_at().
    [[nodiscard]] std::optional<Request> take_request(Instant now);
    void step(const Reply& reply, Instant now);

    [[nodiscard]] const std::optional<Outcome>& outcome() const { return outcome_; }
    // When there is something to ask for, if nothing else happens; Instant::max(): never.
    [[nodiscard]] Instant retry_at() const;
    // The claim is kept by the storage: contesting costs one request.
    [[nodiscard]] bool is_enrolled() const { return state_ > State::kEnrolling; }
    // Why it takes so long: the last Unknown, or empty.
    [[nodiscard]] const std::string& trouble() const { return trouble_; }
    [[nodiscard]] const Claim& mine() const { return mine_; }

  private:
    enum class State : std::uint8_t { kChecking, kEnrolling, kReady, kLinking, kReading, kOver };

    // The claim that became the file, unless it is damaged.
    [[nodiscard]] std::optional<Claim> read(Generation generation, const std::string& text,
                                            Instant now);
    void check(const Reply& reply, Instant now);
    [[nodiscard]] Generation before() const { return Generation(mine_.generation.value() - 1); }
    void judge(const std::string& text, Instant now);
    void retry(std::string why, Instant now);

    Claim mine_;
    std::optional<Nonce> behind_;
    State state_;
    bool is_contested_ = false;
    bool is_asking_ = false;
    Instant not_before_ = Instant::min();
    std::optional<Outcome> outcome_;
    std::string trouble_;
};

}  // namespace ftvmm::lock
