"""Real inference servers without containers: installed into a folder, started on free ports of this machine, asked, and stopped."""
