# SPDX-License-Identifier: BSD-3-Clause
#
# perl: hashes, closures, sorting, regular expressions, strings that grow, local $@ and die.
command -v perl >/dev/null || exit 77
[ "$1" = prepare ] && exit 0

export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0
under perl - <<'END'
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use List::Util qw(sum reduce shuffle);
use Data::Dumper;
$Data::Dumper::Sortkeys = 1;

my ($x, %count, @rows) = (1);
sub rnd { $x = ($x * 1103515245 + 12345) % 2147483648; return $x % $_[0] }
for my $i (0 .. 120000) {
    my $word = join '', map { chr(97 + rnd(7)) } 1 .. 1 + rnd(6);
    $count{$word}++;
    push @rows, { id => $i, word => $word, tags => [ map { rnd(100) } 0 .. $i % 4 ] } if $i % 3 == 0;
}
my @top = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$_ $count{$_}\n" for @top[0 .. 20];
print Dumper($rows[777]), scalar(keys %count), "\n";
my $text = '';
$text .= sprintf("%05d:%s;", $_->{id}, $_->{word}) for @rows;
print length($text), ' ', sha1_hex($text), "\n";
(my $changed = $text) =~ s/(\d+):([a-c]+)([d-g]*);/<$3|$2|$1>/g;
print sha1_hex($changed), "\n";
my $n = () = $text =~ /a(?=b+c)|(?<!d)e{2}/g;
print "$n\n";
my @closures = map { my $k = $_; sub { $k += $_[0] } } 1 .. 20000;
print sum(map { $_->(3) } @closures), "\n";
my $caught = 0;
for (1 .. 5000) {
    eval { die { code => $_, text => 'x' x ($_ % 500) } };
    $caught += length $@->{text};
}
print "$caught\n";
my @sorted = sort { $a->{word} cmp $b->{word} || $b->{id} <=> $a->{id} } @rows;
print sha1_hex(join ',', map { $_->{id} } @sorted), "\n";
print sha1_hex(pack('w*', map { $_->{id} } @sorted)), "\n";
my $pid = open(my $child, '-|') // die;
if (!$pid) { print 'from a forked child: ', scalar(@rows), "\n"; exit 0 }
print while <$child>;
close $child;
END
